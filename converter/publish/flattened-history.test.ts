import { expect, it } from 'vitest';
import type { ImageConfig } from '../../oci/config.ts';
import { flattenHistory } from './flattened-history.ts';

const step = (created_by: string, empty_layer?: boolean) =>
  empty_layer === undefined ? { created_by } : { created_by, empty_layer };

/** A config of these steps and so many layers. */
function config(history: ImageConfig['history'], layers: number): ImageConfig {
  const diff_ids = Array.from({ length: layers }, (_, at) => `sha256:${`${at}`.repeat(64)}`);
  return { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids }, history } as ImageConfig;
}

const steps = [step('a'), step('env', true), step('b'), step('c'), step('d')];

it('the steps of layers that are kept, and the last, have one; those between have none', () => {
  expect(flattenHistory(config(steps, 4), 1)).toEqual([
    step('a'),
    step('env', true),
    step('b', true),
    step('c', true),
    step('d'),
  ]);
  expect(flattenHistory(config(steps, 4), 3)).toEqual(steps);
});

it('a history that does not fit the layers, or is missing, stays as it is', () => {
  expect(flattenHistory(config(steps, 3), 1)).toEqual(steps);
  expect(flattenHistory(config(undefined, 3), 1)).toBeUndefined();
});
