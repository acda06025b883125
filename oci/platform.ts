/** Platforms of an image index (OCI image-spec, image-index.md; names as Go's GOOS and GOARCH). */
import { AccelError } from '../base/error.ts';

/** The `platform` object of a descriptor. Builders may leave fields out: then they are unknown. */
export interface Platform {
  readonly os?: string;
  readonly architecture?: string;
  readonly variant?: string;
  readonly 'os.version'?: string;
  readonly 'os.features'?: readonly string[];
}

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  'x86-64': 'amd64',
  aarch64: 'arm64',
  armhf: 'arm/v7',
  armel: 'arm/v6',
  i386: '386',
  i686: '386',
};

/** The variant that a plain architecture stands for. */
const DEFAULT_VARIANTS: Readonly<Record<string, string>> = { amd64: 'v1', arm64: 'v8', arm: 'v7' };

/** `os/architecture[/variant]`, with `unknown` for what is not given; for messages and keys. */
export function formatPlatform(platform: Platform): string {
  const { os = 'unknown', architecture = 'unknown', variant } = platform;
  return variant ? `${os}/${architecture}/${variant}` : `${os}/${architecture}`;
}

/**
 * The platform with the field's usual names: `aarch64` becomes `arm64`, `x86_64` becomes `amd64`, and the variant that
 * an architecture has anyway (`arm64/v8`, `amd64/v1`) is dropped. The other fields stay.
 */
export function normalizePlatform(platform: Platform): Platform {
  const { os, architecture, variant, ...rest } = platform;
  const lower = architecture?.toLowerCase() ?? '';
  const [name = '', implied] = (ARCHITECTURES[lower] ?? lower).split('/');
  const named = variant?.toLowerCase() || implied;
  const level = named !== undefined && /^\d/.test(named) ? `v${named}` : named;
  // 32-bit ARM keeps its variant in print: arm/v6 and arm/v7 are different images everywhere.
  const drop = level === undefined || (name !== 'arm' && level === DEFAULT_VARIANTS[name]);
  return {
    ...(os ? { os: os.toLowerCase() === 'macos' ? 'darwin' : os.toLowerCase() } : {}),
    ...(name ? { architecture: name } : {}),
    ...(drop ? {} : { variant: level as string }),
    ...rest,
  };
}

/** Parses `os/architecture[/variant]` to its normal form. Throws `usage`. */
export function parsePlatform(text: string): Platform {
  const parts = text.trim().split('/');
  if (parts.length < 2 || parts.length > 3 || parts.some((part) => !/^[A-Za-z0-9_.-]+$/.test(part))) {
    throw new AccelError('usage', 'this is not a platform', {
      expected: 'os/architecture[/variant], such as linux/amd64 or linux/arm64/v8',
      found: text,
      hint: parts.length === 1 ? `Did you mean linux/${text}?` : 'Run accel inspect to see the platforms of an image.',
    });
  }
  const [os = '', architecture = '', variant] = parts;
  return normalizePlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) });
}

/**
 * Whether an image for `actual` is one that `wanted` asks for. A wanted platform without a variant (or with the one that
 * its architecture has anyway) takes every variant; another variant takes exactly that, where a missing variant counts
 * as the architecture's default.
 */
export function matchPlatform(wanted: Platform, actual: Platform): boolean {
  const want = normalizePlatform(wanted);
  const have = normalizePlatform(actual);
  if (want.os !== have.os || want.architecture !== have.architecture) return false;
  return want.variant === undefined || effectiveVariant(want) === effectiveVariant(have);
}

function effectiveVariant(platform: Platform): string | undefined {
  return platform.variant ?? DEFAULT_VARIANTS[platform.architecture ?? ''];
}
