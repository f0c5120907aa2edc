#!/usr/bin/env python3
"""Makes foreign.tar.gz: a bundle as a script of twenty lines would build it.

A gzipped tar of one folder, bundle/, with a JSON manifest under the YAML name
and no digests. Run it here to make the fixture again; the date is fixed so that
the output is.
"""
import gzip, io, json, shutil, tarfile, tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as tmp:
    src = Path(tmp) / "src"
    (src / "net").mkdir(parents=True)
    (src / "net" / "checkout.har").write_text('{"log": {"version": "1.2", "entries": []}}\n')
    (src / "incident.jfr").write_bytes(b"FLR\0\0\2\0\1" + bytes(200))
    (src / "sql.sqlite").write_bytes(b"SQLite format 3\0" + bytes(496))

    bundle = Path(tmp) / "bundle_1735907696"
    bundle.mkdir()
    manifest = {
        "version": 1,
        "bundle_id": "0b7a6d0e-1f0b-4b0a-9a55-3d2f7c1c9e11",
        "created_at": "2025-01-03T12:34:56Z",
        "recorders": [],
        "inputs": {},
        "privacy": {"schema": "v1"},
    }
    (bundle / "traces/jfr").mkdir(parents=True)
    shutil.copy2(src / "incident.jfr", bundle / "traces/jfr/incident.jfr")
    manifest["recorders"].append({"kind": "jfr", "jfr_file": "traces/jfr/incident.jfr"})
    shutil.copytree(src / "net", bundle / "inputs/http_vcr")
    manifest["inputs"]["network_cassette"] = "inputs/http_vcr/"
    shutil.copy2(src / "sql.sqlite", bundle / "inputs/sql_vcr.sqlite")
    manifest["inputs"]["db_cassette"] = "inputs/sql_vcr.sqlite"
    (bundle / "trace_bundle.yaml").write_text(json.dumps(manifest, indent=2))

    def fixed(info):
        info.mtime, info.uid, info.gid, info.uname, info.gname = 1735907696, 0, 0, "", ""
        return info

    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        tar.add(bundle, arcname="bundle", filter=fixed)
    with open("foreign.tar.gz", "wb") as out:
        with gzip.GzipFile(fileobj=out, mode="wb", filename="", mtime=1735907696) as z:
            z.write(raw.getvalue())
