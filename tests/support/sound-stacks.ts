/** Stacks of layers that the rules allow, made out of random ones; and a few that they do not. */
import fc from 'fast-check';
import { crowdEntries, type DraftLayer, draftStacks } from '../../fixtures/random-stacks.ts';
import type { StackEntry, StackLayer } from '../../fixtures/stack-entry.ts';
import { type ModelOptions, soundLayers } from './stack-model.ts';

/** A stack and what to expect of it. */
export interface RandomStack {
  readonly layers: readonly StackLayer[];
  /** Under which rules the model reads it. */
  readonly options: ModelOptions;
}

/**
 * Most stacks are sound: chance alone would leave few whose upper layers are ever applied. Half of these have whiteouts
 * in any place and no path through a symlink, half have whiteouts first and symlinks anywhere; some stacks are left with
 * what the rules refuse.
 */
export const randomStacks: fc.Arbitrary<RandomStack> = fc.oneof(
  { weight: 9, arbitrary: draftStacks.map((draft) => sound(draft, { anyOrder: true })) },
  { weight: 9, arbitrary: draftStacks.map((draft) => sound(draft, { anyOrder: false })) },
  { weight: 2, arbitrary: draftStacks.map(unsound) },
);

/** Stacks that nothing is refused of, their entries changed or left out by `change` beforehand. */
export function stacksOf(
  options: ModelOptions,
  change: (entry: StackEntry) => StackEntry | undefined,
): fc.Arbitrary<RandomStack> {
  return draftStacks.map((drafts) => sound(drafts, options, change));
}

function sound(
  drafts: readonly DraftLayer[],
  options: ModelOptions,
  change: (entry: StackEntry) => StackEntry | undefined = (entry) => entry,
): RandomStack {
  const finish = (draft: DraftLayer, files: readonly string[]): StackLayer =>
    finished(draft, files, options).flatMap((entry) => change(entry) ?? []);
  return { layers: soundLayers(drafts, finish, options), options };
}

function unsound(draft: readonly DraftLayer[]): RandomStack {
  const options = { anyOrder: false };
  return { layers: draft.map((layer) => finished(layer, [], options)), options };
}

/** Gives links their targets and spells out crowds. */
function finished(draft: DraftLayer, below: readonly string[], { anyOrder }: ModelOptions): StackEntry[] {
  const standing = [...below];
  const entries = draft.flatMap((entry): StackEntry[] => {
    switch (entry.kind) {
      case 'crowd':
      case 'crowd leaves':
        return crowdEntries(entry);
      case 'link to an existing file': {
        if (standing.length === 0) return [];
        const { choice, ...rest } = entry;
        return [{ ...rest, kind: 'link', target: standing[standing.length - 1 - (choice % standing.length)]! }];
      }
      default:
        if (!['directory', 'whiteout', 'opaque', 'aufs', 'link'].includes(entry.kind)) standing.push(entry.path);
        return [entry];
    }
  });
  return anyOrder ? entries : [...entries.filter(isWhiteout), ...entries.filter((entry) => !isWhiteout(entry))];
}

function isWhiteout({ kind }: StackEntry): boolean {
  return kind === 'whiteout' || kind === 'opaque';
}
