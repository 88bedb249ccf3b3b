# pins: pandas==3.1.1 pyarrow==26.0.1 openpyxl==3.1.5 odfpy==1.4.1 xlwt==1.3.0 numpy==2.4.6
"""Makes the binary fixtures with other software than ours."""
import os, json, datetime, decimal, re, zipfile
import pandas as pd, pyarrow as pa, pyarrow.parquet as pq, openpyxl
out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")
os.makedirs(out, exist_ok=True)
rows=[
 {"id":1,"text":"plain","score":0.5,"ok":True,"note":"a"},
 {"id":2,"text":"comma, \"quote\" and\nline break","score":-1.25,"ok":False,"note":None},
 {"id":3,"text":"Größe 你好 🦀","score":1e-3,"ok":True,"note":"NA"},
 {"id":4,"text":"  spaces  ","score":None,"ok":False,"note":"x;y|z"},
 {"id":5,"text":"'=1+1","score":12345678.75,"ok":True,"note":"last"},
]
cols=list(rows[0])
df=pd.DataFrame(rows)
df["note"]=df["note"].astype(object)
with open(out+"/same.jsonl","w") as f:
    for r in rows: f.write(json.dumps(r,ensure_ascii=False)+"\n")
df.to_csv(out+"/same.csv",index=False)
json.dump(rows,open(out+"/same.json","w"),ensure_ascii=False,indent=1)
json.dump({c:[r[c] for r in rows] for c in cols},open(out+"/columns.json","w"),ensure_ascii=False)
open(out+"/pandas.json","w").write(df.where(df.notna(),None).to_json())
t=pa.Table.from_pylist(rows)
for codec in ["snappy","zstd","gzip"]:
    pq.write_table(t,f"{out}/same.{codec}.parquet",compression=codec,row_group_size=2)
def timeless(path):
    """Writes an archive again without the time of the day, so that the same rows are the same bytes."""
    with zipfile.ZipFile(path) as z:
        parts=[(i.filename,i.compress_type,z.read(i)) for i in z.infolist()]
    with zipfile.ZipFile(path,"w") as z:
        for name,compression,content in parts:
            if name in ("docProps/core.xml","meta.xml"):
                content=re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",b"2026-01-02T03:04:05",content)
            z.writestr(zipfile.ZipInfo(name),content,compression)
def xl(path):
    wb=openpyxl.Workbook(); ws=wb.active; ws.title="Rows"; ws.append(cols)
    for r in rows: ws.append([r[c] for c in cols])
    ws2=wb.create_sheet("Dates"); ws2.append([]); ws2.append(["when","n"]); ws2.append([datetime.datetime(2024,2,29,13,5,7),1]); ws2.append([datetime.date(2023,1,2),2])
    wb.save(path); timeless(path)
xl(out+"/same.xlsx")
def stray(path):
    """A cell at the end of the sheet, where nobody looks."""
    wb=openpyxl.Workbook(); ws=wb.active; ws.title="Rows"; ws.append(cols); ws.cell(1048576,16384,"stray")
    wb.save(path); timeless(path)
stray(out+"/stray.xlsx")
df.to_excel(out+"/same.ods",index=False,engine="odf",sheet_name="Rows")
timeless(out+"/same.ods")
import xlwt
wb=xlwt.Workbook(); ws=wb.add_sheet("Rows")
for j,c in enumerate(cols): ws.write(0,j,c)
for i,r in enumerate(rows):
    for j,c in enumerate(cols):
        if r[c] is not None: ws.write(i+1,j,r[c])
wb.save(out+"/same.xls")
types=pa.table({
 "day":pa.array([datetime.date(2024,2,29),None]),
 "ms":pa.array([datetime.datetime(2024,2,29,13,5,7,123000)]*2,type=pa.timestamp("ms")),
 "us":pa.array([datetime.datetime(1969,12,31,23,59,59,999999)]*2,type=pa.timestamp("us")),
 "ns":pa.array([1709211907123456789,None],type=pa.timestamp("ns")),
 "dec":pa.array([decimal.Decimal("-12.30"),decimal.Decimal("0.05")],type=pa.decimal128(10,2)),
 "f32":pa.array([0.1,float("nan")],type=pa.float32()),
 "tags":pa.array([["a","b"],[]]),
 "messages":pa.array([[{"role":"user","content":"hi"}],None]),
 "u64":pa.array([2**64-1,0],type=pa.uint64()),
 "bytes":pa.array([b"ok",b""]),
})
pq.write_table(types,out+"/types.parquet")
