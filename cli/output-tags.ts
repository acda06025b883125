/** Chooses the tags of a conversion by the naming contract that users know from hosted conversion. */
import { advise, option } from '../base/advice.ts';
import { AccelError } from '../base/error.ts';
import type { Mode, OutputTag } from '../converter/options.ts';
import { defaultOutputs } from '../converter/settings.ts';
import { tagPart } from '../oci/image-names.ts';

/** Characters of a tag (distribution-spec, "Pulling manifests"). */
export const MAX_TAG_LENGTH = 128;

/** The user's choice of tags; whatever was not given is undefined. */
export interface TagChoice {
  readonly inputTag: string | undefined;
  readonly outputTag: string | undefined;
  readonly overlaybd: string | undefined;
  readonly turboOci: string | undefined;
  readonly mode: Mode | undefined;
}

/**
 * The tags to make, at least one. Throws `usage` when the flags contradict each other or name no tag, `tag-too-long`
 * before any work when a registry would refuse one.
 */
export function chooseOutputs(choice: TagChoice): OutputTag[] {
  const outputs = named(choice) ?? defaultOutputs(choice.inputTag, choice.mode);
  for (const { tag } of outputs) checkLength(tag, choice);
  return outputs;
}

function named(choice: TagChoice): OutputTag[] | undefined {
  const { overlaybd, turboOci, outputTag, mode } = choice;
  if (overlaybd === undefined && turboOci === undefined) {
    return outputTag === undefined ? undefined : [{ tag: outputTag, kind: mode ?? 'full' }];
  }
  const flags = [overlaybd === undefined ? '' : '--overlaybd', turboOci === undefined ? '' : '--turboOCI'];
  const given = flags.filter((flag) => flag !== '').join(' and ');
  if (outputTag !== undefined) {
    throw new AccelError('usage', `-o does not go with ${given}`, {
      hint: 'Give -o with --mode, or one tag for each of --overlaybd and --turboOCI.',
    });
  }
  if (mode !== undefined) {
    throw new AccelError('usage', `--mode does not go with ${given}`, {
      hint: '--overlaybd makes a full image and --turboOCI an index-only one: leave --mode out.',
    });
  }
  if (overlaybd !== undefined && overlaybd === turboOci) {
    throw new AccelError('usage', '--overlaybd and --turboOCI name the same tag', {
      found: overlaybd,
      hint: 'One tag holds one image: give each a tag of its own.',
    });
  }
  return [
    ...(overlaybd === undefined ? [] : [{ tag: overlaybd, kind: 'full' as const }]),
    ...(turboOci === undefined ? [] : [{ tag: turboOci, kind: 'index-only' as const }]),
  ];
}

function checkLength(tag: string, { inputTag }: TagChoice): void {
  // An image of a layout may have a whole name: its tag alone is bounded so.
  if ((tagPart(tag) ?? tag).length <= MAX_TAG_LENGTH) return;
  const derived = inputTag !== undefined && tag.startsWith(`${inputTag}_`);
  throw new AccelError('tag-too-long', `the tag ${tag} is too long`, {
    expected: `at most ${MAX_TAG_LENGTH} characters`,
    found: tag.length,
    hint: derived
      ? advise`Name the result with ${option('outputTag', 'TAG')}; the suffix makes the default name too long.`
      : 'Choose a shorter tag.',
  });
}
