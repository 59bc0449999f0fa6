"""A patient's identity goes into the whole chain of commands, and nothing of it comes out."""

import base64
import gzip
import io
import json
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from segedu.medical import read_nifti, read_segmentation, write_nifti
from segedu.medical.__main__ import main
from tests.medical.dicom_files import dicom_tags, write_dicom

pytest.importorskip("pydicom")
pytest.importorskip("nibabel")
pytest.importorskip("highdicom")
pytest.importorskip("tensorboard")

#: A value for every tag that may name somebody or something; no two share a word of theirs.
IDENTITY = {
    "PatientName": "Zorrilla^Quentinius",
    "PatientID": "PID7700117Q",
    "OtherPatientNames": "Wyszkowskaja^Brunhilde",
    "PatientMotherBirthName": "Oppenhuizen",
    "PatientBirthDate": "19370506",
    "PatientBirthTime": "134759.482913",
    "PatientAge": "087Y",
    "PatientAddress": "Kastanjelaan Zevenhonderd",
    "PatientTelephoneNumbers": "0049 4213 770118",
    "PatientComments": "Jehovahs-Witness-Q",
    "AdditionalPatientHistory": "Nephrectomized-W",
    "Occupation": "Lighthousekeeper",
    "EthnicGroup": "Samoyedic-X",
    "InstitutionName": "Elsewhere Hospital Q",
    "InstitutionAddress": "Wolkenkuckucksheim",
    "InstitutionalDepartmentName": "Tropenmedizin-Y",
    "ReferringPhysicianName": "Whodunnit^Secretus",
    "PerformingPhysicianName": "Featherstonehaugh^Ignaz",
    "NameOfPhysiciansReadingStudy": "Mxyzptlkovic^Agnes",
    "OperatorsName": "Knopfdruecker^Ottokar",
    "StationName": "KELLER-SCANNER9",
    "DeviceSerialNumber": "SN-48151623427",
    "AccessionNumber": "ACC-9927716-K",
    "StudyID": "STUDYQ-551177",
    "StudyDate": "19991231",
    "StudyTime": "235958.771133",
    "StudyDescription": "Whipple-resection-Q",
    "SeriesDescription": "Paragangliomata-Z",
    "ProtocolName": "Liebermeister-protocol",
    "ImageComments": "Brother-in-law-of-J",
    "RequestedProcedureDescription": "Cholangioscopy-Q",
}
#: What is looked for, in lower case: every word of at least six letters or digits.
WORDS = {
    word.encode()
    for value in IDENTITY.values()
    for word in re.findall(r"[a-z0-9]{6,}", value.lower())
}


def leaks(data: bytes) -> set[bytes]:
    """Words of the identity in the data or in anything packed within, in 8 or 16 bits."""
    text = data.lower()
    found = {w for w in WORDS if w in text or w.decode().encode("utf-16-le") in text}
    return found.union(*map(leaks, packed(data)))


def packed(data: bytes) -> Iterator[bytes]:
    """What is compressed or encoded in gzip, zip, PNG and HTML."""
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    elif data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from map(archive.read, archive.namelist())
    elif data[:4] == b"\x89PNG":
        yield from png_texts(data)
    elif data[:15].lower() == b"<!doctype html>":
        for part in re.findall(rb"base64,([A-Za-z0-9+/=]+)", data):
            yield base64.b64decode(part)


def png_texts(data: bytes) -> Iterator[bytes]:
    """Compressed texts; the others can be read as they are."""
    place = 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, chunk = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        if kind == b"zTXt" or (kind == b"iTXt" and b"\0\1\0" in chunk):
            start = chunk.index(b"\x78", chunk.index(b"\0"))  # how deflated data begin
            yield zlib.decompress(chunk[start:])
        place += 12 + length


@pytest.mark.parametrize("place", ["text", "utf-16", "gzip", "zip", "png", "html"])
def test_the_search_finds_what_it_looks_for(place):
    """Otherwise the test below could not fail."""
    name = b"from Zorrilla to you"
    chunk = b"zTXtComment\0\0" + zlib.compress(name)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(chunk) - 4) + chunk + b"\0\0\0\0"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("data", name)
    data = {
        "text": name,
        "utf-16": name.decode().encode("utf-16-le"),
        "gzip": gzip.compress(name),
        "zip": archive.getvalue(),
        "png": png,
        "html": b"<!DOCTYPE html><img src='data:image/png;base64," + base64.b64encode(png) + b"'>",
    }[place]
    assert leaks(data) == {b"zorrilla"}


def write_patient(folder: Path, seed: int) -> None:
    """A CT of a bright block, 6 slices of 16 x 16, with the identity in every file."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    pixels = rng.normal(100, 10, (6, 16, 16))
    pixels[2:5, 4:12, 5:13] += 800
    for k, layer in enumerate(pixels.astype(np.int16)):
        tags = {**dicom_tags((0, 0, 2.0 * k), layer.shape, uid=f"1.2.3.{seed}"), **IDENTITY}
        write_dicom(folder / f"{k}.dcm", tags, layer)


def test_nothing_of_the_identity_comes_out_of_the_commands(tmp_path, capfd, caplog, monkeypatch):
    """Inspect, convert, train, predict, evaluate, report, and complaints: 0 words in every byte."""
    scans, out = tmp_path / "scans", tmp_path / "out"
    data, run, scores = out / "data", out / "run", out / "scores"
    (out / "temporary").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(out / "temporary"))
    for seed in range(3):
        name, patient = f"case_{seed}.nii.gz", scans / str(seed)
        write_patient(patient, seed)
        assert len(leaks((patient / "0.dcm").read_bytes())) == len(WORDS)
        assert main(["inspect", str(patient)]) == 0
        assert main(["convert", str(patient), str(data / "imagesTr" / name)]) == 0
        image = read_nifti(data / "imagesTr" / name)
        (data / "labelsTr").mkdir(exist_ok=True)
        labels = image.with_array((image.array > -500).astype(np.uint8))
        write_nifti(labels, data / "labelsTr" / name)
    (data / "dataset.json").write_text(json.dumps({"labels": {"0": "air", "1": "block"}}))
    settings = ["base_width=2", "stages=2", "patch=(4,16,16)", "epochs=1", "patches=2"]
    settings += ["shares=(0.4,0.3,0.3)"]
    settings = [part for text in settings for part in ("--set", text)]
    settings += ["--tensorboard", str(out / "curves")]
    patient = str(scans / "0")
    for command in (
        ["convert", patient, str(out / "copy")],
        ["train", str(data), "--out", str(run), *settings],
        ["train", str(data), "--out", str(run), "--resume", "--set", "epochs=2"],
        ["predict", str(run), patient, str(out / "labels.nii.gz")],
        ["predict", str(run), patient, str(out / "labels")],
        ["predict", str(run), patient, str(out / "labels.dcm")],
        ["convert", str(out / "labels.dcm"), str(out / "again.nii"), "--like", patient],
        ["inspect", str(out / "labels")],
        ["evaluate", str(run), str(data), str(scores)],
        ["report", str(scores), str(data)],
    ):
        assert main(command) == 0, capfd.readouterr().err
    (scans / "0" / "3.dcm").unlink()
    (scans / "1" / "3.dcm").write_bytes((scans / "1" / "3.dcm").read_bytes()[:900])
    for broken in ("0", "1"):
        assert main(["inspect", str(scans / broken)]) == 1
        assert main(["convert", str(scans / broken), str(out / "none")]) == 2
        assert main(["predict", str(run), str(scans / broken), str(out / "none")]) == 2
    told = "".join(capfd.readouterr()) + caplog.text
    assert told.count("problem:") >= 2 and told.count("error:") == 4
    assert read_segmentation(out / "labels.dcm")[1] == {1: "block"}
    files = [path for path in out.rglob("*") if path.is_file()]
    for kind in (".nii.gz", ".dcm", ".pt", ".json", ".jsonl", ".csv", ".html", ".tfevents"):
        assert any(kind in path.name for path in files), kind
    assert not leaks(told.encode())
    for path in files:
        assert not leaks(str(path.relative_to(out)).encode())
        assert not leaks(path.read_bytes()), path.name
