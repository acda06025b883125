import { describe, expect, it, vi } from 'vitest';
import { loadZstdLibrary } from './library.ts';
import { equalNativeCompressor, type NativeZstd, nativeZstd } from './native.ts';

const library = await loadZstdLibrary();
const LEVEL = 100;

/** A node:zlib that makes the library's frames, but for what `change` does to them. */
function zlibOf(change: (frame: Uint8Array, block: Uint8Array) => Uint8Array = (frame) => frame): NativeZstd {
  return {
    zstdCompressSync: vi.fn((block: Uint8Array, { params }: { params: Record<number, number> }) =>
      change(library.compress(block, params[LEVEL]!).slice(), block),
    ),
    constants: { ZSTD_c_compressionLevel: LEVEL },
  };
}

describe("Node's zstd compresses blocks", () => {
  const { version: zstd } = library;
  const isUsed = (native: NativeZstd | undefined, node: string, version: string | undefined = zstd): boolean =>
    equalNativeCompressor(library, 3, { native, node, zstd: version }) !== undefined;

  it('where it has the version of the library and makes its frames', () => {
    expect(isUsed(zlibOf(), '24.0.0')).toBe(true);
    expect(isUsed(zlibOf(), '26.1.0')).toBe(true);
  });

  it('not in another version, and not where it is slower or missing', () => {
    expect(isUsed(zlibOf(), '24.0.0', '1.5.8')).toBe(false);
    expect(isUsed(zlibOf(), '22.20.0')).toBe(false);
    expect(isUsed(undefined, '24.0.0')).toBe(false);
  });

  it('not where any frame is another', () => {
    const other = (frame: Uint8Array) =>
      Uint8Array.from(frame, (byte, i) => (i === frame.length - 1 ? byte ^ 1 : byte));
    for (const size of [65_536, 32_768, 4097])
      expect(
        isUsed(
          zlibOf((frame, block) => (block.length === size ? other(frame) : frame)),
          '24.0.0',
        ),
      ).toBe(false);
  });

  it.skipIf(nativeZstd === undefined || process.versions.zstd !== zstd)(
    'as the library does, at every level',
    () => {
      for (let level = 1; level <= library.maxLevel; level++)
        expect(
          equalNativeCompressor(library, level, { native: nativeZstd, node: '24.0.0', zstd }),
          `${level}`,
        ).toBeDefined();
    },
    60_000,
  );
});
