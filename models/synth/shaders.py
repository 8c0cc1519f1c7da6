"""GLSL programs: the shadow pass, and skin, eyes, teeth, cloth, hair, brows and lashes.

Material numbers are those of ``character.Material``. Light is a key (with shadow map), a fill and a
rim light plus a two-coloured ambient; skin wraps and reddens at the shadow's edge.
"""

VERTEX = """#version 330
invariant gl_Position;
in vec3 in_pos; in vec3 in_normal; in vec3 in_rest; in vec2 in_uv; in float in_ambient;
in vec4 in_mottle;
uniform mat4 view; uniform mat4 key_view;
out vec3 position; out vec3 normal; out vec3 rest; out vec2 uv; out float ambient_access;
out vec3 shadow_coord; out vec4 mottle;
void main() {
  position = in_pos; normal = in_normal; rest = in_rest; uv = in_uv; mottle = in_mottle;
  ambient_access = in_ambient;
  shadow_coord = (key_view * vec4(in_pos, 1)).xyz * .5 + .5;
  gl_Position = view * vec4(in_pos, 1);
}
"""

SHADOW_VERTEX = """#version 330
invariant gl_Position;
in vec3 in_pos; uniform mat4 view;
void main() { gl_Position = view * vec4(in_pos, 1); }
"""

SHADOW_FRAGMENT = """#version 330
void main() {}
"""

STRAND_SHADOW_VERTEX = """#version 330
in vec3 in_pos; in vec2 in_uv; uniform mat4 view; out vec2 uv;
void main() { uv = in_uv; gl_Position = view * vec4(in_pos, 1); }
"""

STRAND_SHADOW_FRAGMENT = """#version 330
in vec2 uv; uniform sampler2D photo;
void main() { if (texture(photo, uv).g < .5) discard; }
"""

_VERSION = "#version 330\n"
_HEADER = """in vec3 position; in vec3 normal; in vec3 rest; in vec2 uv; in float ambient_access;
in vec3 shadow_coord; in vec4 mottle; out vec4 colour;
uniform sampler3D noise; uniform sampler2D masks; uniform sampler2DShadow shadow;
uniform vec3 camera;
uniform vec3 key_dir, key_rgb, fill_dir, fill_rgb, rim_dir, rim_rgb, sky_rgb, ground_rgb;
uniform vec3 skin, lips, hair, iris, cloth;
uniform float lashes, seed, blush, stubble, cut;
uniform vec3 eye_right, eye_left, gaze_right, gaze_left;
uniform vec3 mouth_centre, cheek_centre, neckline;

struct Surface {
  vec3 albedo; vec3 n; float rough; float specular; float wrap; vec3 bleed; float ambient;
  float alpha;
};

float shadow_visibility() {
  float sum = 0.;
  for (int i = 0; i < 2; i++) for (int j = 0; j < 2; j++)
    sum += texture(shadow, vec3(shadow_coord.xy + (vec2(i, j) - .5) / 340., shadow_coord.z - .006));
  return sum * .25;
}
"""

_SKIN = """
Surface skin_surface(Surface s) {
  vec4 m = texture(masks, uv);  // lips, ears, eyelids, inside of the mouth
  vec3 fine = texture(noise, rest * 6. + seed).rgb - .5;
  s.albedo = skin * (1. + .16 * (mottle.x - .5) + .16 * (mottle.z - .5) + .10 * fine.r);
  vec2 cheek = vec2(abs(rest.x) - cheek_centre.x, rest.y - cheek_centre.y) / vec2(.26, .22);
  float red = blush * (.55 * exp(-dot(cheek, cheek)) + .5 * m.g + .12 * (mottle.y - .5));
  s.albedo *= mix(vec3(1), vec3(1.10, .84, .82), clamp(red, -.2, 1.));
  float below = smoothstep(.16, -.10, rest.y - mouth_centre.y - .10)
    * smoothstep(-1.05, -.62, rest.y - mouth_centre.y);
  float beard = stubble * below * smoothstep(-.3, .35, rest.z - mouth_centre.z + .75);
  s.albedo *= mix(vec3(1), vec3(.60, .64, .69), beard * (.8 + .5 * fine.g));
  s.albedo = mix(s.albedo, lips * (.92 + .3 * fine.b), m.r * .85);
  s.albedo = mix(s.albedo, skin * vec3(.86, .74, .72), m.b * .3);
  s.albedo = mix(s.albedo, vec3(.30, .09, .085), m.a);
  s.ambient = max(s.ambient, .30) * mix(1., .6, m.a);
  s.n = normalize(s.n + fine.gbr * .16 * (1. - m.a));
  s.rough = mix(.55, .40, m.r);
  s.specular = .028; s.wrap = .32; s.bleed = vec3(.85, .28, .16);
  return s;
}
"""

_EYE = """
Surface eye_surface(Surface s) {
  bool left = rest.x > 0.;
  vec3 centre = left ? eye_left : eye_right, gaze = left ? gaze_left : gaze_right;
  vec3 d = normalize(position - centre);
  float t = acos(clamp(dot(d, gaze), -1., 1.));
  vec3 side = normalize(cross(vec3(0, 1, 0), gaze)), up = cross(gaze, side);
  float around = atan(dot(d, up), dot(d, side));
  vec3 white = vec3(.62, .585, .56) * (1. - .25 * smoothstep(.55, 1.2, t));
  float fiber = texture(noise, vec3(cos(around), sin(around), t * .8) * 1.3 + seed).g;
  vec3 ring = iris * (.6 + .8 * fiber) * (1. - .5 * smoothstep(.36, .46, t));
  ring = mix(ring, iris * vec3(1.5, 1.25, .9), .35 * smoothstep(.26, .16, t));
  s.albedo = mix(ring, white, smoothstep(.43, .50, t));
  s.albedo *= smoothstep(.13, .18, t) * .985 + .015;
  s.n = d; s.rough = .09; s.specular = .05; s.wrap = .15;
  return s;
}
"""

_TEETH = """
Surface teeth_surface(Surface s) {
  s.albedo = vec3(.74, .69, .61) * (.95 + .1 * mottle.w);
  s.rough = .3; s.wrap = .3; s.bleed = vec3(.1);
  return s;
}
"""

_TONGUE = """
Surface tongue_surface(Surface s) {
  s.albedo = vec3(.42, .15, .14) * (.9 + .2 * mottle.w);
  s.rough = .6; s.specular = .015; s.wrap = .3;
  return s;
}
"""

_CLOTH = """
Surface cloth_surface(Surface s) {
  // A round neckline: nothing above a plane that falls to the front.
  if (rest.y > neckline.x + neckline.y * (rest.z - neckline.z) + .06 * abs(rest.x)) discard;
  if (rest.z < neckline.z - .2) discard;
  float edge = neckline.x + neckline.y * (rest.z - neckline.z) + .06 * abs(rest.x) - rest.y;
  float weave = texture(noise, rest * 9. + seed).r;
  s.albedo = cloth * (.86 + .22 * weave + .12 * (mottle.z - .5));
  s.albedo *= 1. - .25 * smoothstep(.10, .085, edge) * smoothstep(.06, .075, edge);
  s.rough = .9; s.specular = .018; s.wrap = .12;
  return s;
}
"""

_HAIR = """
Surface hair_surface(Surface s) {
  vec3 strand = vec3(uv.x * 7., uv.y * .45, seed);
  float coarse = texture(noise, strand).r, thin = texture(noise, strand * vec3(2.6, 1.3, 1.)).g;
  float streak = coarse * .55 + thin * .45;
  s.albedo = hair * (.55 + .9 * streak);
  s.rough = .50; s.specular = .035; s.wrap = .3;
  s.ambient = .35 + .65 * s.ambient;
  return s;
}
"""

_BROW = """
Surface brow_surface(Surface s) {
  vec3 strand = vec3((uv.x - uv.y * .25) * 5., uv.y * .25, seed);
  float streak = texture(noise, strand).r;
  float across = abs(uv.y - .5) * 2.;
  s.alpha = (.62 + .38 * smoothstep(.35, .6, streak)) * (1. - smoothstep(.15, .95, across))
    * smoothstep(0., .2, uv.x) * (1. - smoothstep(.68, 1., uv.x));
  s.albedo = hair * .9 + skin * .02; s.rough = .7; s.specular = .01; s.wrap = .25; s.ambient = .8;
  return s;
}
"""

_LASH = """
Surface lash_surface(Surface s) {
  s.alpha = lashes * (1. - smoothstep(.15, .95, uv.y));
  s.albedo = vec3(.012, .009, .008) + hair * .05; s.rough = .8; s.specular = 0.; s.ambient = .8;
  return s;
}
"""

_SURFACES = (_SKIN, _EYE, _TEETH, _TONGUE, _CLOTH, _HAIR, _BROW, _LASH)
_NAMES = ("skin", "eye", "teeth", "tongue", "cloth", "hair", "brow", "lash")

_LIGHT = """
float ggx(float nh, float rough) {
  float a = rough * rough; a *= a;
  float d = nh * nh * (a - 1.) + 1.;
  return a / (3.1416 * d * d);
}

vec3 light_from(Surface s, vec3 v, vec3 l, vec3 rgb, float shade) {
  float nl = dot(s.n, l);
  vec3 diffuse = vec3(max((nl + s.wrap) / (1. + s.wrap), 0.));
  diffuse += s.bleed * .30 * smoothstep(-.45, .25, nl) * (1. - smoothstep(.1, .6, nl));
  vec3 h = normalize(l + v);
  float nh = max(dot(s.n, h), 0.), vh = max(dot(v, h), 0.);
  float fresnel = s.specular + (1. - s.specular) * pow(1. - vh, 5.);
  float shine = ggx(nh, s.rough) * fresnel * max(nl, 0.)
    * .25 / (max(nl, .1) * max(dot(s.n, v), .2) * 1.5 + .1);
  vec3 soft = s.bleed.r > 0. ? pow(vec3(shade), vec3(.55, 1., 1.1)) : vec3(shade);
  return rgb * soft * (s.albedo * diffuse + shine) * mix(1., s.ambient, .6);
}

void main() {
  vec3 v = normalize(camera - position);
  Surface s = Surface(vec3(.5), normalize(normal), .5, .04, 0., vec3(0), ambient_access, 1.);
  if (KIND != 0 && dot(s.n, v) < 0.) s.n = -s.n;
  s = SURFACE(s);
  if (KIND >= 5 && s.alpha < cut) discard;
  if (cut > .3) s.alpha = 1.;
  vec3 sum = light_from(s, v, key_dir, key_rgb, shadow_visibility())
    + light_from(s, v, fill_dir, fill_rgb, 1.) + light_from(s, v, rim_dir, rim_rgb, 1.);
  vec3 ambient = mix(ground_rgb, sky_rgb, s.n.y * .5 + .5);
  vec3 access = vec3(s.ambient);
  if (s.bleed.r > 0.) access = pow(vec3(max(s.ambient, .001)), vec3(.75, 1., 1.05));
  sum += ambient * s.albedo * access;
  float edge = pow(1. - max(dot(s.n, v), 0.), 4.);
  vec3 reflected = reflect(-v, s.n);
  sum += mix(ground_rgb, sky_rgb, reflected.y * .5 + .5)
    * (s.specular + (1. - s.rough) * .18 * edge) * s.ambient * (KIND == 1 ? 1.6 : 1.);
  sum = sum * (2.51 * sum + .03) / (sum * (2.43 * sum + .59) + .14);
  colour = vec4(pow(clamp(sum, 0., 1.), vec3(1. / 2.2)), s.alpha);
}
"""


def fragment(kind: int, surface: str | None = None) -> str:
    """Fragment program of one material: one each, since a branch costs as much as both arms.

    Args:
        kind: number of the material.
        surface: GLSL function that replaces this material's own.
    """
    defines = f"#define KIND {kind}\n#define SURFACE {_NAMES[kind]}_surface\n"
    return _VERSION + defines + _HEADER + (surface or _SURFACES[kind]) + _LIGHT
