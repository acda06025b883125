/** Reads from the descriptor of a layer which parts a start reads (docs/layout.md): accel's reader fetches them in large pieces. */
import { STARTUP_RANGES_ANNOTATION, STARTUP_SIZE_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import type { Descriptor } from '../oci/descriptor.ts';

/** Characters of the ranges that are read: accel writes less. */
const MOST_TEXT = 8192;

/** A part of a file, in bytes. */
export interface FilePart {
  readonly offset: number;
  readonly length: number;
}

/** Bytes of a full layer's blob up to the end of what a start reads; 0 where the descriptor says none, or what cannot be. */
export function startupSizeOf({ annotations, size }: Pick<Descriptor, 'annotations' | 'size'>): number {
  const text = annotations?.[STARTUP_SIZE_ANNOTATION] ?? '';
  return /^\d{1,15}$/.test(text) && Number(text) <= size ? Number(text) : 0;
}

/** The parts of an index-only layer's source tar, of `size` bytes, that a start reads; none where the descriptor says what cannot be. */
export function startupRangesOf({ annotations }: Pick<Descriptor, 'annotations'>, size: number): FilePart[] {
  const text = annotations?.[STARTUP_RANGES_ANNOTATION] ?? '';
  if (text.length > MOST_TEXT || !/^\d{1,15}\+\d{1,15}(,\d{1,15}\+\d{1,15})*$/.test(text)) return [];
  const parts = text.split(',').map((part): FilePart => {
    const [offset, length] = part.split('+').map(Number);
    return { offset: offset!, length: length! };
  });
  const isSound = parts.every(({ offset, length }, i) => {
    const before = parts[i - 1];
    return length > 0 && offset + length <= size && (before === undefined || before.offset + before.length <= offset);
  });
  return isSound ? parts : [];
}
