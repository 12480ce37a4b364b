#!/usr/bin/python3
"""Fills the registry: deterministic from a seed, loaded by COPY, with a progress bar."""
import argparse
import datetime
import random
import sys

import psycopg2

COUNTRIES = """Afghanistan Armenia Azerbaijan Bangladesh Bosnia Burundi Cameroon Chad Colombia Congo Croatia Cyprus
Ecuador Egypt Eritrea Ethiopia Georgia Ghana Greece Guatemala Haiti Honduras India Indonesia Iran Iraq Italy Jordan
Kenya Kosovo Lebanon Liberia Libya Mali Mauritania Mexico Moldova Morocco Mozambique Myanmar Nepal Niger Nigeria
Pakistan Peru Philippines Rwanda Senegal Serbia Somalia Spain Sudan Syria Tajikistan Tunisia Türkiye Uganda Ukraine
Venezuela Yemen""".split()

# Given and family names in the scripts that the registry meets.
NAMES = [
    ("Amina Fatou Moussa Ibrahim Aisha Ousmane Mariam Salif Hawa Adama".split(),
     "Diallo Traoré Keïta Coulibaly Touré Ndiaye Sow Cissé Konaté Camara".split()),
    ("María José Luis Carmen Andrés Lucía Mateo Sofía Diego Valeria".split(),
     "González Rodríguez Ramírez Hernández Gutiérrez Núñez Muñoz Castañeda Ibáñez Peña".split()),
    ("Олена Іван Наталія Дмитро Оксана Андрій Юлія Сергій Марія Тарас".split(),
     "Шевченко Коваленко Бондаренко Ткаченко Кравченко Олійник Мельник Лисенко Руденко Савченко".split()),
    ("محمد فاطمة أحمد زينب علي مريم حسن خديجة عمر ليلى".split(),
     "الحسيني العبيدي الشمري الجبوري الدليمي الخطيب القاسم النجار الحداد الصباغ".split()),
    ("አበበ ሰላም ተስፋዬ ሀና ዮሐንስ ማርታ ዳዊት ሩት ሰለሞን ብርሃን".split(),
     "ገብረመድህን ወልደማርያም ተክለሃይማኖት ገብረስላሴ ኃይለማርያም በቀለ ደስታ መኮንን አሰፋ ታደሰ".split()),
    ("Γιώργος Ελένη Νίκος Κατερίνα Δημήτρης Σοφία Γιάννης Άννα Κώστας Ιωάννα".split(),
     "Παπαδόπουλος Οικονόμου Γεωργίου Νικολάου Αντωνίου Καραγιάννης Μακρής Βασιλείου Ιωάννου Αλεξίου".split()),
    ("გიორგი ნინო დავით მარიამ ლევან თამარ ირაკლი ანა ზურაბ ეკა".split(),
     "ბერიძე კაპანაძე გელაშვილი მაისურაძე ლომიძე ნოზაძე ხუციშვილი წიკლაური აბაშიძე ჯაფარიძე".split()),
    ("राम सीता मोहन गीता अर्जुन लक्ष्मी सुरेश राधा विजय कमला".split(),
     "श्रेष्ठ अधिकारी गुरुङ तामाङ भट्टराई पौडेल खड्का थापा महर्जन राई".split()),
    ("伟 芳 娜 敏 静 强 磊 洋 艳 杰".split(), "欧阳 司马 上官 诸葛 皇甫 尉迟 公孙 慕容 令狐 宇文".split()),
]
STATUSES = ["missing"] * 40 + ["detained"] * 8 + ["displaced"] * 30 + ["unaccompanied_minor"] * 7 + ["safe"] * 15
CHANNELS = ["telephone", "letter", "visit", "relative", "camp office"]
TODAY = datetime.date(2021, 11, 9)


def person(source, number):
    given, family = NAMES[number % len(NAMES)]
    r = source.getrandbits(60)
    status = STATUSES[r % 100]
    years = 6 + (r >> 7) % 11 if status == "unaccompanied_minor" else 18 + (r >> 7) % 60
    birth = TODAY - datetime.timedelta(days=365 * years + (r >> 14) % 365)
    name = f"{given[(r >> 24) % 10]} {family[(r >> 28) % 10]}-{family[(r >> 32) % 10]}"
    unsafe = "t" if status == "detained" or (r >> 36) % 12 == 0 else "f"
    return (f"{number}\t{1 + (r >> 40) % 60}\t{name}\t{birth}\tNID-{number * 7919 % 10**9:09d}\t"
            f"+{200 + (r >> 46) % 700} {number * 104729 % 10**8:08d}\t{1 + (r >> 50) % 300} {given[(r >> 20) % 10]} "
            f"{family[(r >> 16) % 10]} Street\t{status}\t{CHANNELS[(r >> 12) % 5]}\t{unsafe}\n")


def tracing(source, number, people):
    r = source.getrandbits(40)
    day = TODAY - datetime.timedelta(days=r % 2000)
    return f"{number}\t{1 + (r >> 12) % people}\t{day}\t{('open', 'located', 'closed')[(r >> 8) % 3]}\n"


def message(source, number, people):
    r = source.getrandbits(40)
    given, family = NAMES[number % len(NAMES)]
    day = TODAY - datetime.timedelta(days=r % 2000)
    return f"{number}\t{1 + (r >> 12) % people}\t{day}\tI am alive; tell {given[r % 10]} {family[(r >> 4) % 10]} that we wait at {number % 997}\n"


def link(source, number, people):
    r = source.getrandbits(40)
    first = 1 + number % people
    other = 1 + (first + 1 + (r >> 8) % max(people - 2, 1)) % people
    return f"{first}\t{other}\t{('parent', 'child', 'sibling', 'spouse')[r % 4]}\n"


class Stream:
    """Rows as the file that COPY reads, telling how far it has come."""

    def __init__(self, rows, total, label):
        self.rows, self.total, self.label = rows, total, label
        self.done, self.rest, self.shown = 0, b"", -1

    def read(self, size):
        parts, length = [self.rest], len(self.rest)
        while length < size:
            batch = [row for _, row in zip(range(2000), self.rows)]
            if not batch:
                break
            self.done += len(batch)
            parts.append("".join(batch).encode())
            length += len(parts[-1])
        data = b"".join(parts)
        self.rest = data[size:]
        self.show()
        return data[:size]

    def show(self):
        percent = 100 * self.done // max(self.total, 1)
        if percent == self.shown:
            return
        self.shown = percent
        if sys.stdout.isatty():
            bar = "#" * (percent * 40 // 100)
            end = "\n" if percent >= 100 else ""
            print(f"\r  {self.label:16} [{bar:40}] {percent:3}% {self.done:9,}", end=end, flush=True)
        elif percent >= 100:
            print(f"  {self.label:16} {self.done:9,}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=515000)
    parser.add_argument("--seed", type=int, default=2021)
    arguments = parser.parse_args()
    people = arguments.people
    source = random.Random(arguments.seed)
    connection = psycopg2.connect("")
    with connection, connection.cursor() as cursor:
        societies = [f"{n}\t{country} national society\n" for n, country in enumerate(COUNTRIES, 1)]
        cursor.copy_expert("COPY registry.society FROM STDIN", Stream(iter(societies), len(societies), "societies"))
        for table, make, total in (
                ("person", lambda n: person(source, n), people),
                ("tracing_request", lambda n: tracing(source, n, people), people * 2 // 5),
                ("message", lambda n: message(source, n, people), people * 2 // 5),
                ("family_link", lambda n: link(source, n, people), people * 3 // 10)):
            rows = (make(number) for number in range(1, total + 1))
            cursor.copy_expert(f"COPY registry.{table} FROM STDIN", Stream(rows, total, table))
    connection.close()


if __name__ == "__main__":
    main()
