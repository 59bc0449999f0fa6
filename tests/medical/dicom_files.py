"""Small DICOM files, as wrong as a test wants them."""

import numpy as np

SENTINELS = ("ZORRILLA^QUENTIN", "PID-7700117", "19370505", "ST. ELSEWHERE", "DR^WHO^SECRET")
EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
J2K, RLE, JPEG_LS = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"
JPEG_12_BIT, JPEG_LOSSLESS = "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.70"


def dicom_tags(position, shape=(4, 6), *, uid="1.2.3.4"):
    """Tags of one small CT slice, with a patient's identity in every usual place."""
    rows, columns = shape
    return {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": f"{uid}.{1 + round(1000 * position[2]) % 10**9}",
        "SeriesInstanceUID": uid,
        "StudyInstanceUID": "1.2.3",
        "FrameOfReferenceUID": "1.2.5",
        "PatientName": SENTINELS[0],
        "PatientID": SENTINELS[1],
        "PatientBirthDate": SENTINELS[2],
        "InstitutionName": SENTINELS[3],
        "ReferringPhysicianName": SENTINELS[4],
        "SeriesDescription": SENTINELS[0],
        "Modality": "CT",
        "ImagePositionPatient": list(position),
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.8, 0.7],
        "SliceThickness": 5,
        "Rows": rows,
        "Columns": columns,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
    }


def write_dicom(path, tags, pixels, *, syntax=EXPLICIT):
    """Write a file as told, however wrong; a tag that is None is left out."""
    from pydicom import Dataset, dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    dataset = Dataset()
    for keyword, value in tags.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if pixels is not None:
        dataset.PixelData = pixels if isinstance(pixels, bytes) else pixels.tobytes()
        dataset["PixelData"].VR = "OW"
        dataset["PixelData"].is_undefined_length = UID(syntax).is_compressed
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = tags["SOPClassUID"]
    dataset.file_meta.MediaStorageSOPInstanceUID = tags["SOPInstanceUID"] or "1.2.3.9"
    dcmwrite(path, dataset, enforce_file_format=True)


def enhanced_dicom(path, pixels, positions, *, slopes=None, **changes):
    """An enhanced multi-frame file: where a frame lies stands in groups, not in the usual tags."""
    from pydicom import Dataset

    def group(**values):
        item = Dataset()
        for keyword, value in values.items():
            setattr(item, keyword, value)
        return [item]

    tags = {**dicom_tags((0, 0, 0), pixels.shape[1:]), "Modality": "MR", **changes}
    orientation = tags.pop("ImageOrientationPatient")
    (shared,) = group(
        PixelMeasuresSequence=group(PixelSpacing=tags.pop("PixelSpacing"), SliceThickness=9),
        PlaneOrientationSequence=group(ImageOrientationPatient=orientation),
    )
    frames = []
    for k, position in enumerate(positions):
        (frame,) = group(PlanePositionSequence=group(ImagePositionPatient=list(position)))
        if slopes is not None:
            frame.PixelValueTransformationSequence = group(
                RescaleSlope=slopes[k], RescaleIntercept=k
            )
        frames += [frame]
    if slopes is not None:
        del tags["RescaleSlope"], tags["RescaleIntercept"]
    tags |= {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1",
        "ImagePositionPatient": None,
        "SliceThickness": None,
        "NumberOfFrames": len(pixels),
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": frames,
        **changes,
    }
    for keyword in ("PixelSpacing", "ImageOrientationPatient"):
        tags.pop(keyword, None)
    write_dicom(path, tags, pixels)


def lossless_jpeg(path, syntax):
    """Compress a file with what pydicom cannot write."""
    import gdcm

    reader, change, writer = (
        gdcm.ImageReader(),
        gdcm.ImageChangeTransferSyntax(),
        gdcm.ImageWriter(),
    )
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()


def one_file(folder, pixels=None, *, syntax=EXPLICIT, position=(0, 0, 0), **changes):
    """A folder with a single slice."""
    pixels = np.arange(24, dtype=np.int16).reshape(4, 6) if pixels is None else pixels
    folder.mkdir(exist_ok=True)
    write_dicom(folder / "slice.dcm", {**dicom_tags(position), **changes}, pixels, syntax=syntax)
    return folder


def noisy_file(folder, *, signed=False, **changes):
    """`one_file` of random pixels of 12 bits, which no method compresses well; and the pixels."""
    pixels = np.random.default_rng(0).integers(0, 4096, (64, 80))
    pixels = (pixels - 2048).astype(np.int16) if signed else pixels.astype(np.uint16)
    changes |= {"Rows": 64, "Columns": 80, "PixelRepresentation": int(signed)}
    return one_file(folder, pixels, **changes), pixels


def change_frame(folder, change, *, compress=None):
    """Puts the list of frames ``change(frame)`` in place of the slice's only compressed frame.

    With ``compress`` the slice is compressed by this transfer syntax first.
    """
    import pydicom
    from pydicom.encaps import encapsulate, get_frame

    dataset = pydicom.dcmread(folder / "slice.dcm")
    if compress:
        dataset.compress(compress, generate_instance_uid=False)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate(change(frame))
    dataset.save_as(folder / "slice.dcm")
