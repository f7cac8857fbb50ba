"""Where the photo comes from: a file, a drop on the viewport, an image of this .blend, or the clipboard."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import bpy
from bpy.props import BoolProperty, CollectionProperty, FloatProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from .. import clipboard, faces, image_io, job
from ..core import errors, protocol
from .modal import JobOperator, begin_another, start_in_worker, tell

OWN_PHOTOS = "id2r_photos"  # folder in Blender's temporary one


class ID2R_OT_open_photo(ImportHelper, bpy.types.Operator):
    """Choose the photo to reconstruct"""

    bl_idname = "id2r.open_photo"
    bl_label = "Open Photo in ID2R"  # what the menu says that opens where a picture is dropped
    bl_options = {"REGISTER", "UNDO"}

    filter_glob: StringProperty(default=";".join(f"*{each}" for each in protocol.PHOTO_FILES), options={"HIDDEN"})
    filepath: StringProperty(name="Photo", description="A picture file", subtype="FILE_PATH", options={"SKIP_SAVE"})

    def invoke(self, context, event):
        if self.filepath:  # a drop on the viewport: the file is known
            return self.execute(context)
        self.filepath = beside_the_photo(context)
        return super().invoke(context, event)

    def execute(self, context):
        return tell(self, set_photo, context, Path(bpy.path.abspath(self.filepath)))


class ID2R_OT_add_photos(ImportHelper, bpy.types.Operator):
    """Add further photos of the same person, best from other sides: what one does not show, another may"""

    bl_idname = "id2r.add_photos"
    bl_label = "Add More Photos"
    bl_options = {"REGISTER", "UNDO"}

    filter_glob: StringProperty(default=";".join(f"*{each}" for each in protocol.PHOTO_FILES), options={"HIDDEN"})
    directory: StringProperty(name="Folder", description="Where they lie", subtype="DIR_PATH", options={"SKIP_SAVE"})
    files: CollectionProperty(
        name="Files",
        description="Their names in the folder",
        type=bpy.types.OperatorFileListElement,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context):
        return bool(context.scene.id2r.photo)

    def invoke(self, context, event):
        self.filepath = beside_the_photo(context)
        return super().invoke(context, event)

    def execute(self, context):
        folder = Path(bpy.path.abspath(self.directory))
        return tell(self, add_photos, context, [folder / each.name for each in self.files])


class ID2R_OT_remove_photo(bpy.types.Operator):
    """Leave this photo out again"""

    bl_idname = "id2r.remove_photo"
    bl_label = "Remove Photo"
    bl_options = {"REGISTER", "UNDO"}

    index: IntProperty(name="Place", description="Which of the further photos, counted from 0", min=0)

    def execute(self, context):
        return tell(self, self._remove, context)

    def _remove(self, context) -> None:
        photos = context.scene.id2r.more_photos
        if self.index >= len(photos):
            raise errors.Id2rError(f"There is no further photo {self.index}.", f"There are {len(photos)}, from 0 on.")
        photos.remove(self.index)


class ID2R_OT_use_image(bpy.types.Operator):
    """Take this image as the photo: the one in the Image Editor, also when it is a render or was painted"""

    bl_idname = "id2r.use_image"
    bl_label = "Use Image"
    bl_options = {"REGISTER", "UNDO"}

    image: StringProperty(name="Image", description="Name of the image; empty: the one in the Image Editor")

    def execute(self, context):
        return tell(self, self._use, context)

    def _use(self, context) -> None:
        image = bpy.data.images.get(self.image) if self.image else shown_image(context)
        if image is None:
            raise errors.Id2rError("No image is open.", "Open a photo in the Image Editor, or choose one by name.")
        file = Path(bpy.path.abspath(image.filepath))
        is_photo = file.is_file() and file.suffix.lower() in protocol.PHOTO_FILES
        if image.source == "FILE" and not image.packed_file and not image.is_dirty and is_photo:
            set_photo(context, file)
            return
        path = Path(bpy.app.tempdir) / OWN_PHOTOS / f"{bpy.path.clean_name(Path(image.name).stem)}.png"
        image_io.save_photo(image, path)
        set_photo(context, path)


class ID2R_OT_paste_photo(bpy.types.Operator):
    """Take the picture in the clipboard, or the file whose path was copied"""

    bl_idname = "id2r.paste_photo"
    bl_label = "Paste"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context):
        return tell(self, self._paste, context)

    def _paste(self, context) -> None:
        path = clipboard.copied_file(context)
        if path is None:
            path = Path(bpy.app.tempdir) / OWN_PHOTOS / "pasted.png"
            image = clipboard.pasted_image(context)
            try:
                image_io.save_photo(image, path)
            finally:
                bpy.data.images.remove(image)
        set_photo(context, path)


class ID2R_OT_capture_photo(JobOperator, bpy.types.Operator):
    """Take the photo with a webcam, after a countdown with a mirrored preview"""

    bl_idname = "id2r.capture_photo"
    bl_label = "Webcam"
    bl_options = {"REGISTER", "UNDO"}
    task = "Webcam"

    source: StringProperty(
        name="Camera", description="Its number, or a video file that stands in for it", options={"SKIP_SAVE"}
    )
    countdown: FloatProperty(
        name="Countdown", description="Seconds", default=-1.0, min=-1.0, max=60.0, options={"SKIP_SAVE"}
    )

    def begin(self, context) -> job.Job:
        settings = context.scene.id2r
        photo = Path(bpy.app.tempdir) / OWN_PHOTOS / f"webcam {datetime.now():%H-%M-%S}.png"
        preview = photo.with_name("camera preview.png")
        countdown = settings.countdown if self.countdown < 0.0 else self.countdown
        request = protocol.CaptureRequest(self.source or str(settings.camera), str(photo), str(preview), countdown)
        context.window_manager.id2r.preview = str(preview)
        return start_in_worker(context, request)

    def done(self, context, event: protocol.Result) -> None:
        set_photo(context, Path(event.out))


class ID2R_OT_find_faces(JobOperator, bpy.types.Operator):
    """Look for the faces in the photo: shows which one will be used, and what may go wrong with it"""

    bl_idname = "id2r.find_faces"
    bl_label = "Find Faces"
    task = "Find Faces"

    def begin(self, context) -> job.Job:
        self._photo = faces.photo_of(context.scene)
        request = protocol.FacesRequest(self._photo, str(faces.folder_for(self._photo)))
        return start_in_worker(context, request)

    def done(self, context, event: protocol.Result) -> None:
        faces.remember(context, self._photo, event.out, event.report)
        count = len(event.report["faces"])
        self.report({"INFO"}, "One face found." if count == 1 else f"{count} faces found; choose one in the panel.")


class ID2R_OT_choose_face(bpy.types.Operator):
    """Use this face of the photo; if the head was made from another one, it is made again"""

    bl_idname = "id2r.choose_face"
    bl_label = "Choose Face"
    bl_options = {"REGISTER", "UNDO"}

    number: IntProperty(name="Face", default=1, min=1, description="Counted from the largest, which is 1")
    redo: BoolProperty(name="Reconstruct", description="Also reconstruct with it")

    @classmethod
    def poll(cls, context):
        return not context.window_manager.id2r.running

    def execute(self, context):
        return tell(self, self._choose, context)

    def _choose(self, context) -> None:
        found = faces.found_in(context)
        if found:
            found.face(self.number)
        context.scene.id2r.face = self.number
        if self.redo:
            begin_another("reconstruct")


def look_for_faces(context) -> None:
    """Find the faces of the photo while the artist goes on; scripts ask for it themselves."""
    if context.window and not bpy.app.background and not context.window_manager.id2r.running:
        begin_another("find_faces")


def set_photo(context, path: Path) -> None:
    """Make a file the photo of the scene. Raises Id2rError for what is no picture file."""
    _check_photo(path)
    context.scene.id2r.photo = str(path)
    context.window_manager.id2r.property_unset("error")
    context.window_manager.id2r.property_unset("hint")
    look_for_faces(context)


def add_photos(context, paths: Sequence[Path]) -> None:
    """Add further photos of the same person, all or none. Raises Id2rError for what is no picture file, for a photo that
    is there already, and for too many."""
    settings = context.scene.id2r
    there = [Path(bpy.path.abspath(each)) for each in (settings.photo, *(one.path for one in settings.more_photos))]
    for path in paths:
        _check_photo(path)
        if path in there:
            raise errors.Id2rError(f"'{path.name}' is among the photos already.", "Choose another one.")
        there.append(path)
    most = protocol.MOST_MORE_PHOTOS
    if len(there) - 1 > most:
        raise errors.Id2rError(f"{len(there) - 1} further photos are too many.", f"Choose at most {most}.")
    for path in paths:
        settings.more_photos.add().path = str(path)


def beside_the_photo(context) -> str:
    """The folder in which the next photo is looked for: that of the last one. Empty without: Blender chooses."""
    photo = context.scene.id2r.photo
    return f"{Path(bpy.path.abspath(photo)).parent}{os.sep}" if photo else ""


def _check_photo(path: Path) -> None:
    if path.suffix.lower() not in protocol.PHOTO_FILES:
        raise errors.Id2rError(f"'{path.name}' is no photo.", f"Choose one of: {', '.join(protocol.PHOTO_FILES)}.")
    if not path.is_file():
        raise errors.Id2rError(f"There is no file {path}.", "Choose another photo.")


def shown_image(context) -> bpy.types.Image | None:
    """The image of this Image Editor, or of one in the window."""
    areas = [context.area] if context.area else []
    areas += context.screen.areas if context.screen else []
    return next((each.spaces.active.image for each in areas if each.type == "IMAGE_EDITOR"), None)


CLASSES: tuple[type, ...] = (
    ID2R_OT_open_photo,
    ID2R_OT_add_photos,
    ID2R_OT_remove_photo,
    ID2R_OT_use_image,
    ID2R_OT_paste_photo,
    ID2R_OT_capture_photo,
    ID2R_OT_find_faces,
    ID2R_OT_choose_face,
)

if hasattr(bpy.types, "FileHandler"):

    class ID2R_FH_photo(bpy.types.FileHandler):
        """A photo dropped on the viewport or the Image Editor becomes the photo of the scene."""

        bl_idname = "ID2R_FH_photo"
        bl_label = "Photo for ID2R"
        bl_import_operator = "id2r.open_photo"
        bl_file_extensions = ";".join(protocol.PHOTO_FILES)

        @classmethod
        def poll_drop(cls, context):
            return context.area is not None and context.area.type in {"VIEW_3D", "IMAGE_EDITOR"}

    CLASSES = (*CLASSES, ID2R_FH_photo)
