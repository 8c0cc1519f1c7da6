"""GLSL surfaces of the materials that show a photograph; the others are those of ``shaders``.

Each program has one sampler, ``photo``. Hair is drawn twice: what is denser than ``cut`` first,
opaque, then the rest blended over it, so that nothing behind the head shows through.
"""

from models.synth.character import Material
from models.synth.photo_textures import STRAND_RANGE

_SKIN = """
uniform sampler2D photo; uniform vec3 skin_tint; uniform vec2 skin_origin, skin_extent;
Surface skin_surface(Surface s) {
  vec4 m = texture(masks, uv);  // lips, ears, eyelids, inside of the mouth
  vec4 shown = texture(photo, (uv - skin_origin) / skin_extent);
  vec3 fine = texture(noise, rest * 6. + seed).rgb - .5;
  s.albedo = pow(shown.rgb, vec3(2.2)) * skin_tint;
  s.albedo *= 1. + .08 * (mottle.x - .5) + .06 * (mottle.z - .5);
  s.albedo = mix(s.albedo, hair * (.5 + 2. * dot(shown.rgb, vec3(.4))), shown.a * .75);
  vec2 cheek = vec2(abs(rest.x) - cheek_centre.x, rest.y - cheek_centre.y) / vec2(.26, .22);
  s.albedo *= mix(vec3(1), vec3(1.06, .90, .89), blush * .5 * exp(-dot(cheek, cheek)));
  float below = smoothstep(.16, -.10, rest.y - mouth_centre.y - .10)
    * smoothstep(-1.05, -.62, rest.y - mouth_centre.y);
  float beard = stubble * below * smoothstep(-.3, .35, rest.z - mouth_centre.z + .75);
  s.albedo *= mix(vec3(1), vec3(.60, .64, .69), beard * (1. - m.r) * (.5 + .6 * fine.g));
  s.albedo = mix(s.albedo, lips * (.92 + .3 * fine.b), m.r * .35);
  s.albedo = mix(s.albedo, vec3(.30, .09, .085), m.a);
  s.ambient = max(s.ambient, .30) * mix(1., .6, m.a);
  s.n = normalize(s.n + fine.gbr * .10 * (1. - m.a));
  s.rough = mix(mix(.52, .40, m.r), .9, m.a);
  s.specular = .028 * (1. - m.a); s.wrap = .32; s.bleed = vec3(.85, .28, .16);
  return s;
}
"""

_EYE = """
uniform sampler2D photo;
Surface eye_surface(Surface s) {
  bool left = rest.x > 0.;
  vec3 centre = left ? eye_left : eye_right, gaze = left ? gaze_left : gaze_right;
  vec3 d = normalize(position - centre);
  float t = acos(clamp(dot(d, gaze), -1., 1.));
  vec3 side = normalize(cross(vec3(0, 1, 0), gaze)), up = cross(gaze, side);
  vec2 around = normalize(vec2(dot(d, side), dot(d, up)) + vec2(1e-6, 0));
  vec3 shown = pow(texture(photo, vec2(.7055, .7055) + .25 * t * around).rgb, vec3(2.2));
  float fiber = clamp(dot(shown, vec3(.3, .5, .2)) * 4., .2, 2.);
  vec3 ring = iris * (.2 + pow(fiber, 1.5) * .85) * (1. - .6 * smoothstep(.36, .47, t));
  vec3 white = shown * .98 * (1. - .3 * smoothstep(.55, 1.2, t));
  s.albedo = mix(ring, white, smoothstep(.44, .51, t));
  s.albedo *= smoothstep(.13, .18, t) * .985 + .015;
  s.albedo *= 1. - .55 * smoothstep(-.05, .28, d.y);  // the upper lid's shadow
  s.n = d; s.rough = .09; s.specular = .02; s.wrap = .15;
  return s;
}
"""

_TEETH = """
uniform sampler2D photo;
Surface teeth_surface(Surface s) {
  vec3 shown = pow(texture(photo, uv, -.7).rgb, vec3(2.2));
  float depth = smoothstep(.56, .73, rest.z - mouth_centre.z);
  s.albedo = min(shown * vec3(1.5, 1.38, 1.2), vec3(.82)) * mix(.12, 1., depth);
  s.rough = .3; s.wrap = .3; s.bleed = vec3(.1);
  return s;
}
"""

_HAIR = f"""
uniform sampler2D photo;
Surface hair_surface(Surface s) {{
  vec2 strand = texture(photo, uv).rg;
  s.alpha = strand.g;
  s.albedo = hair * (strand.r * strand.r * {STRAND_RANGE});
  s.rough = .55; s.specular = .03 * strand.r; s.wrap = .3;
  s.ambient = .35 + .65 * s.ambient;
  return s;
}}
"""

_BROW = """
uniform sampler2D photo;
Surface brow_surface(Surface s) {
  s.alpha = pow(texture(photo, uv, -1.).r, .8) * .95;
  s.albedo = hair * .6 + skin * .02; s.rough = .7; s.specular = .01; s.wrap = .25; s.ambient = .8;
  return s;
}
"""

_LASH = """
uniform sampler2D photo;
Surface lash_surface(Surface s) {
  float upper = smoothstep(-.05, .02, rest.y - eye_left.y);
  s.alpha = texture(photo, uv, -1.).r * (.3 + .8 * lashes) * mix(.4, 1., upper);
  s.albedo = vec3(.012, .009, .008) + hair * .08; s.rough = .8; s.specular = 0.; s.ambient = .8;
  return s;
}
"""

PHOTO_SURFACES: dict[int, str] = {
    Material.SKIN: _SKIN,
    Material.EYE: _EYE,
    Material.TEETH: _TEETH,
    Material.HAIR: _HAIR,
    Material.BROW: _BROW,
    Material.LASH: _LASH,
}
"""By the material's number."""
