/** Renders the plan of `convert --dry-run`. */
import type { ConvertPlan } from '../converter/plan/dry-run.ts';
import { formatBytes, formatCount } from './format.ts';
import { skippedLines } from './reasons.ts';
import { printable, shortDigest } from './text.ts';

/** The plan as text, ending in a newline. */
export function renderPlan(plan: ConvertPlan): string {
  const { digest, size } = plan.source;
  const lines = [`Nothing was written. A conversion of ${shortDigest(digest)} (${formatBytes(size)}) would make:`];
  for (const { tag, kind, standing } of plan.tags) {
    const state = standing === undefined ? kind : `already present, ${shortDigest(standing)}`;
    lines.push(`  ${printable(plan.repository)}:${printable(tag)}  ${state}`);
  }
  for (const image of plan.images) {
    lines.push('', `${printable(image.platform)} ${shortDigest(image.digest)} ${formatBytes(image.size)}`);
    image.layers.forEach((layer, index) => {
      const tar = layer.compression === 'none' ? 'plain tar' : layer.compression;
      const makes = layer.makes.join(' and ') || 'nothing';
      const note = layer.notes.length > 0 ? ` (${layer.notes.join('; ')})` : '';
      lines.push(`  ${index + 1} ${shortDigest(layer.digest)} ${formatBytes(layer.size)}, ${tar}: ${makes}${note}`);
    });
  }
  if (plan.prefetch !== undefined && plan.images.length > 0) {
    const { lines: count, format } = plan.prefetch;
    const form = format === undefined ? '' : `, as a ${format}`;
    lines.push('', `On top an acceleration layer, from ${formatCount(count, 'line')} to prefetch${form}.`);
    lines.push('Whether the image has what they name shows when its layers are read.');
  }
  const gzip = plan.images.some((image) =>
    image.layers.some(({ compression, makes }) => compression === 'gzip' && makes.includes('index-only')),
  );
  if (gzip) lines.push('', 'A gzip layer is index-only if it has a single member, which only reading it shows.');
  if (plan.referrers !== undefined) lines.push('');
  for (const { kind, digest, action, reason } of plan.referrers ?? []) {
    lines.push(`${kind} ${shortDigest(digest)} would be ${action}: ${printable(reason)}`);
  }
  lines.push(...skippedLines(plan.skipped));
  return `${lines.join('\n')}\n`;
}
