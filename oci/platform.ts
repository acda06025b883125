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

/** The variant that an architecture implies. */
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

/**
 * Parses `os/architecture[/variant]` as a user types it, normalised; a variant that was typed stays. Throws `usage`.
 */
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
  const platform = normalizePlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) });
  // `amd64/v1` asks for no other level than v1, `amd64` does not.
  const plain = DEFAULT_VARIANTS[platform.architecture ?? ''];
  return variant === undefined || platform.variant !== undefined || plain === undefined
    ? platform
    : { ...platform, variant: plain };
}

/**
 * The candidates that `wanted` asks for, in their order. A wanted variant takes exactly that one, where a missing
 * variant counts as the one that the architecture has anyway. Without a variant the plain images are taken (`amd64` is
 * v1, `arm` v7), or every variant of the architecture if there are no plain images.
 */
export function choosePlatform<T>(
  wanted: Platform,
  candidates: readonly T[],
  platformOf: (candidate: T) => Platform | undefined,
): readonly T[] {
  const want = normalizePlatform(wanted);
  const fitting = candidates.filter((candidate) => {
    const have = normalizePlatform(platformOf(candidate) ?? {});
    return want.os === have.os && want.architecture === have.architecture;
  });
  const isExact = (candidate: T): boolean =>
    effectiveVariant(want) === effectiveVariant(normalizePlatform(platformOf(candidate) ?? {}));
  const exact = fitting.filter(isExact);
  return exact.length > 0 || wanted.variant ? exact : fitting;
}

/** {@link choosePlatform} for several wanted platforms: what any of them asks for; all where none is wanted. */
export function choosePlatforms<T>(
  wanted: readonly Platform[],
  candidates: readonly T[],
  platformOf: (candidate: T) => Platform | undefined,
): readonly T[] {
  if (wanted.length === 0) return candidates;
  const chosen = new Set(wanted.flatMap((platform) => choosePlatform(platform, candidates, platformOf)));
  return candidates.filter((candidate) => chosen.has(candidate));
}

/** The platform in a config; any field may be missing, null or empty. */
export interface ConfigPlatform {
  readonly os?: string | null;
  readonly architecture?: string | null;
  readonly variant?: string | null;
}

/**
 * The platform of an image: the index decides, as for every runtime, and fields that it leaves out are taken from the
 * config. An image without a system is for Linux.
 */
export function imagePlatform(listed: Platform | undefined, config: ConfigPlatform): Platform {
  const { os, architecture, variant, ...rest } = listed ?? {};
  const level = architecture ? variant : (variant ?? config.variant);
  const name = architecture || config.architecture;
  return {
    os: (os || config.os || 'linux').toLowerCase(),
    ...(name ? { architecture: name } : {}),
    ...(level ? { variant: level } : {}),
    ...rest,
  };
}

function effectiveVariant(platform: Platform): string | undefined {
  return platform.variant ?? DEFAULT_VARIANTS[platform.architecture ?? ''];
}
