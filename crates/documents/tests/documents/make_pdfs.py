# pins: reportlab==5.1.0 pypdf==7.1.1
"""Makes fixtures/*.pdf, and fixtures/pages.json: the text that pypdf reads from them."""

import io
import json
import pathlib

import pypdf
import reportlab
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Spacer

HERE = pathlib.Path(__file__).parent / "fixtures"
pdfmetrics.registerFont(TTFont("Vera", pathlib.Path(reportlab.__file__).parent / "fonts/Vera.ttf"))


def guide():
    """Two pages of paragraphs: one in a standard font, one in a font that the file brings."""
    standard = ParagraphStyle("standard", fontName="Helvetica", fontSize=11, leading=14)
    own = ParagraphStyle("own", fontName="Vera", fontSize=10, leading=13)
    story = [
        Paragraph("The warranty of the kettle lasts three years from the day of purchase. "
                  "It covers the lid, the handle and the heating element.", standard),
        Spacer(1, 24),
        Paragraph("Descale it once a month with vinegar; never with soap.", standard),
        PageBreak(),
        Paragraph("Größe: 25 cm. Façade of brushed steel, naïve charm.", own),
        Spacer(1, 24),
        Paragraph("Returns go to the warehouse in Malmö within fourteen days.", own),
    ]
    buffer = io.BytesIO()
    SimpleDocTemplate(buffer, pagesize=A5, invariant=1, pageCompression=1).build(story)
    return buffer.getvalue()


def pictures():
    """A page on which nothing is written."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A5, invariant=1)
    canvas.rect(50, 50, 200, 200, fill=1)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


pages = {}
for name, data in [("guide", guide()), ("pictures", pictures())]:
    (HERE / f"{name}.pdf").write_bytes(data)
    reader = pypdf.PdfReader(io.BytesIO(data))
    pages[name] = [page.extract_text() for page in reader.pages]
(HERE / "pages.json").write_text(json.dumps(pages, indent=1, ensure_ascii=False) + "\n")
