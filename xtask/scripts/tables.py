"""Derives the two demonstration tables from the unpacked packages.

usage: tables.py SPAM_PACKAGE SENTIMENT_PACKAGE OUT_FOLDER

Writes spam.csv.gz and sentiment.csv.gz and prints their row counts as JSON.
The same input gives the same bytes: rows are ordered by the hash of their text
(so that the head of a table is a fair sample of it) and gzip stores no time.
Needs nothing but Python's own library.
"""

import csv
import email
import email.header
import gzip
import hashlib
import html
import io
import json
import pathlib
import re
import sys
import unicodedata

MAIL_LENGTH = 600
MAIL_FOLDERS = {
    "easy-ham-1": "ham",
    "easy-ham-2": "ham",
    "hard-ham-1": "ham",
    "spam-1": "spam",
    "spam-2": "spam",
}


def main():
    spam_package, sentiment_package, out = map(pathlib.Path, sys.argv[1:4])
    counts = {
        "spam": write(out / "spam.csv.gz", ["id", "text", "label"], mails(spam_package)),
        "sentiment": write(out / "sentiment.csv.gz", ["id", "text", "label"], sentences(sentiment_package)),
    }
    json.dump(counts, sys.stdout, indent=2)


def mails(package):
    """(id, text, label) of every mail: subject and body, folded and cut."""
    for folder, label in MAIL_FOLDERS.items():
        for path in sorted((package / "data" / folder).glob("*.txt")):
            message = email.message_from_bytes(path.read_bytes())
            subject, body = fold(subject_of(message)), fold(body_of(message))
            text = f"Subject: {subject} Message: {body}"[:MAIL_LENGTH].rstrip()
            yield f"{folder}/{path.name.split('.')[0]}", text if body else "", label


def sentences(package):
    """(id, text, label) of every review sentence; the files end in one null row."""
    for source in ["amazon", "imdb", "yelp"]:
        rows = json.loads((package / "test" / "fixtures" / f"{source}.json").read_text("utf-8"))
        for number, row in enumerate(rows):
            label = {0: "negative", 1: "positive", None: ""}[row["class"]]
            yield f"{source}/{number:04}", fold(row["text"]), label


def write(path, header, rows):
    """Writes the rows that are whole and unique; returns what was read, dropped and written."""
    counts = {"read": 0, "empty": 0, "duplicate": 0, "contradictory": 0, "written": 0}
    by_text = {}
    for row in rows:
        counts["read"] += 1
        if not row[1] or not row[2]:
            counts["empty"] += 1
            continue
        by_text.setdefault(row[1].casefold(), []).append(row)

    kept = []
    for same in by_text.values():
        if len({label for _, _, label in same}) > 1:
            # One text under two labels teaches nothing and cannot be scored.
            counts["contradictory"] += len(same)
        else:
            counts["duplicate"] += len(same) - 1
            kept.append(same[0])
    kept.sort(key=lambda row: hashlib.sha256(row[1].encode("utf-8")).digest())

    table = io.StringIO(newline="")
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(header)
    lines.writerows(kept)
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(table.getvalue().encode("utf-8"))

    counts["written"] = len(kept)
    for label in sorted({label for _, _, label in kept}):
        counts[label] = sum(1 for row in kept if row[2] == label)
    return counts


def subject_of(message):
    """The subject line, its encoded words decoded."""
    parts = []
    for data, charset in email.header.decode_header(message.get("Subject", "")):
        parts.append(data if isinstance(data, str) else decoded(data, charset))
    return "".join(parts)


def body_of(message):
    """The first plain text part that says something, or else the first HTML part as text."""
    for kind in ["text/plain", "text/html"]:
        for part in message.walk():
            if part.get_content_type() != kind or part.get_content_disposition() == "attachment":
                continue
            text = decoded(part.get_payload(decode=True) or b"", part.get_content_charset())
            text = without_markup(text) if kind == "text/html" or looks_like_html(text) else text
            if text.strip():
                return text
    return ""


def looks_like_html(text):
    """Some spam calls its HTML plain text."""
    return re.search(r"<(html|body|table|font)\b", text[:2000], re.IGNORECASE) is not None


def without_markup(text):
    """Visible text of an HTML page, well enough for mail of 2002."""
    text = re.sub(r"(?is)<!--.*?-->", "", text)
    text = re.sub(r"(?is)<(script|style|title)\b.*?</\1\s*>", " ", text)
    # Inline tags are dropped without a gap: spam splits words with them.
    text = re.sub(r"(?is)</?(a|b|i|u|em|font|strong|span|big|small|sup|sub)\b[^>]*>", "", text)
    text = re.sub(r"(?s)<[^>]*>", " ", text)
    return html.unescape(text)


def decoded(data, charset):
    """Bytes as text: by the charset they claim, then UTF-8, then Latin-1, which always reads."""
    for name in [charset, "utf-8"]:
        try:
            return data.decode(name)
        except (LookupError, UnicodeDecodeError, TypeError, ValueError):
            continue
    return data.decode("latin-1")


def fold(text):
    """One line: every run of white space and control characters is one blank."""
    printable = ("" if unicodedata.category(c) == "Cf" else " " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    return " ".join("".join(printable).split())


if __name__ == "__main__":
    main()
