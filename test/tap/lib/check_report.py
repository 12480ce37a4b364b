"""Checks a report in HTML: well-formed, self-contained, accessible. Prints what is wrong,
one line each; prints nothing where all is well."""
import re
import sys
import xml.etree.ElementTree as tree
from html.parser import HTMLParser

VOID = {"meta", "br", "img", "link", "input", "hr"}


def luminance(colour):
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    parts = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []
        self.wrong = []
        self.headings = []
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("script", "link", "img", "iframe", "object", "base", "form", "a"):
            self.wrong.append(f"element {tag}")
        for name in attributes:
            if name.startswith("on") or name in ("src", "href", "action", "srcset"):
                self.wrong.append(f"attribute {name} of {tag}")
        if tag == "html" and not attributes.get("lang"):
            self.wrong.append("no language")
        if tag == "th" and attributes.get("scope") not in ("col", "row"):
            self.wrong.append("a table's header without scope")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes another element")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = file.read()
    page = Page()
    page.feed(text)
    page.close()
    wrong = page.wrong
    if page.open:
        wrong.append(f"not closed: {page.open}")
    if re.search(r"url\(|@import|https?://(?!www\.w3\.org/)", text):
        wrong.append("refers to the network")
    if page.headings[:1] != [1] or page.headings.count(1) != 1 or any(b - a > 1 for a, b in zip(page.headings, page.headings[1:])):
        wrong.append(f"headings {page.headings}")
    for tag in ("main", "title", "style", "caption", "svg"):
        if tag not in page.seen:
            wrong.append(f"no {tag}")
    root = tree.fromstring(re.sub(r"^<!DOCTYPE html>", "", text))
    for svg in root.iter("svg"):
        if svg.get("aria-hidden") == "true":
            continue
        ids = {e.get("id") for e in svg if e.tag in ("title", "desc") and (e.text or "").strip()}
        if svg.get("role") != "img" or len(ids) != 2 or set((svg.get("aria-labelledby") or "").split()) != ids:
            wrong.append("a picture without a text")
    for table in root.iter("table"):
        if table.find("caption") is None or table.find("thead") is None:
            wrong.append("a table without caption or head")
    style = re.search("<style>(.*?)</style>", text, re.S).group(1)
    for rule in re.findall(r"\{([^{}]*)\}", style):
        colour = re.search(r"(?<![-a-z])color: (#[0-9a-f]{3,6})", rule)
        ground = re.search(r"background: (#[0-9a-f]{3,6})", rule)
        if colour:
            full = [c if len(c) == 7 else "#" + "".join(2 * x for x in c[1:]) for c in (colour.group(1), ground.group(1) if ground else "#fff")]
            if contrast(*full) < 4.5:
                wrong.append(f"contrast of {full}")
    print("\n".join(wrong))


main()
