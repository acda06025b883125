/**
 * The file of an acceleration layer for a resolved list and a stack of layers: which form, which bytes, what is lost.
 */
import { encodeList } from '../formats/prefetch/list.ts';
import { encodeTrace } from '../formats/prefetch/writer.ts';
import type { StackedDevice } from '../reader/block-device.ts';
import type { LayerKind } from '../reader/layer.ts';
import { nameOfLine, someOf } from './lines.ts';
import { type PlannedList, planList } from './plan-list.ts';
import { type PlannedTrace, planTrace } from './plan-trace.ts';
import type { ResolvedPrefetch } from './resolve-list.ts';

/** The two forms that the file can have. */
export type PrefetchForm = 'list' | 'trace';

/** A file for an acceleration layer. */
export interface ComposedPrefetch {
  readonly form: PrefetchForm;
  readonly content: Uint8Array;
  /** Lines of the list, or reads of the trace. */
  readonly entries: number;
  /** Bytes of file content that it brings, in whole blocks. */
  readonly covered: number;
  /** Parts of the user's list that it does not cover. */
  readonly warnings: readonly string[];
}

/**
 * Composes the file. Unless `form` says otherwise it is a trace where that brings as much as a list: always in a stack
 * of full layers, which then costs a node no walk through directories and knows every name. Data in the source layers
 * of index-only layers only a list can bring. Undefined, with the warnings, when nothing is left to prefetch.
 */
export function composePrefetch(
  resolved: ResolvedPrefetch,
  stack: { readonly device: Pick<StackedDevice, 'segments'>; readonly kinds: readonly LayerKind[] },
  form?: PrefetchForm,
): { readonly composed: ComposedPrefetch | undefined; readonly warnings: readonly string[] } {
  const trace = planTrace(resolved, stack.device, (layer) => stack.kinds[layer] === 'full');
  const list = planList(resolved);
  const composed = (form ?? better(trace, list)) === 'trace' ? composeTrace(trace) : composeList(list);
  const isVain = composed.form === 'trace' && trace.covered === 0 && trace.outside.bytes > 0;
  const isEmpty = composed.entries === 0 || resolved.items.length === 0 || isVain;
  return { composed: isEmpty ? undefined : composed, warnings: composed.warnings };
}

/** The form that brings more; the trace where they are even, because it costs the node less. */
function better({ covered, outside }: PlannedTrace, list: PlannedList): PrefetchForm {
  // Holes of listed files are not read.
  const listed = Math.min(list.covered, covered + outside.bytes);
  return outside.bytes === 0 || (covered > 0 && covered >= listed) ? 'trace' : 'list';
}

function composeTrace({ reads, covered, outside }: PlannedTrace): ComposedPrefetch {
  const lost = `${outside.bytes} bytes lie in the base image's layers, which a trace cannot prefetch`;
  const warnings = outside.bytes > 0 ? [`${lost}: ${someOf(outside.lines.map(nameOfLine))}`] : [];
  return { form: 'trace', content: encodeTrace(reads), entries: reads.length, covered, warnings };
}

function composeList({ lines, covered, warnings }: PlannedList): ComposedPrefetch {
  return { form: 'list', content: encodeList(lines), entries: lines.length, covered, warnings };
}
