"""ID2R core: one photo in, four reflectance maps and a fitted head out. Imports no torch; read `pipeline` first.

Conventions, used in every file without being repeated there
    world / head frame   metres, right-handed, +y up, the face looks along +z, +x is the subject's left;
                         the origin lies midway between the eyeball centres
    view frame           OpenCV: x right, y down, z forward (depth is positive in front of the camera)
    pixels               x right, y down, continuous; the centre of the first pixel is (0.5, 0.5)
    uv                   v up, (0, 0) is the lower left corner of the image: x = u * width, y = (1 - v) * height
    matrices             name both frames, target first: `crop_from_photo`, `view_from_world`
    images               float32 RGB in [0, 1]; `linear` or `srgb` stands in the name where it matters; nets see [-1, 1]
    arrays               numpy images are [H, W, C], torch images are [B, C, H, W]
    tensor letters       B batch, S subjects, V views, C channels, H W image, T atlas side, N vertices, F faces,
                         K codes or coefficients, D code width, L lights

What a reflectance image holds, in every domain three channels in [0, 1] (grey domains repeat one value)
    diffuse              true diffuse albedo, sRGB encoded, no light in it
    specular             F0 / (2 * F0 of skin at IOR 1.4): 0.5 is textbook skin, the number that Blender's
                         "Specular IOR Level" wants at IOR 1.4
    roughness            perceptual roughness r of GGX (alpha = r * r), linear
    normal               as an image in a view: the unit normal in the head frame, (n + 1) / 2;
                         as a saved map: tangent space of the head-tile uv, OpenGL (+y up)
"""

__version__ = "0.1.0"
