/**
 * Habits of wording that this project avoids, each with the reason and with what the field writes. check-prose.ts
 * refuses them in comments, messages, test names and pages. CONTRIBUTING.md says how prose is written here.
 */

/** One habit. */
export interface ProseHabit {
  /** Matches the habit in running text; case is ignored. */
  readonly pattern: RegExp;
  /** Plain words for the same thing. */
  readonly instead: string;
  /** The trouble that a reader has with it. */
  readonly reason: string;
}

/** Every habit, in the order in which complaints name them. */
export const PROSE_HABITS: readonly ProseHabit[] = [
  {
    // "stands for" is the ordinary phrase of an abbreviation; "stand-in" is a word of its own.
    pattern: /\b(?:stands|stood|standing)\b(?! for\b)|\bstand\b(?![ -]in\b| for\b)/gi,
    instead: 'exists, is present, is already there',
    reason: 'content has no posture',
  },
  {
    pattern: /\b(?:tell|tells|told|telling)\b/gi,
    instead: 'report, print, name, say, show, distinguish',
    reason: 'a program reports',
  },
  {
    pattern: /\b(?:held|hold|holds|holding)(?: \w+)? (?:against|to)\b/gi,
    instead: 'verify against, limit to',
    reason: 'reads as a translation, and leaves open whether a check takes place',
  },
  {
    pattern: /\banew\b/gi,
    instead: 'again',
    reason: 'poetic',
  },
  {
    pattern: /\bbehind (?:it|them|each|which)\b/gi,
    instead: 'after it, that follows',
    reason: 'text and bytes come after each other, not behind',
  },
  {
    pattern: /\b(?:is|are|was|were) none\b(?! of\b)|\bis not one\b|\bare not ones\b/gi,
    instead: 'name the thing: "is not a directory", "there is no tag"',
    reason: 'the reader has to search the sentence for the thing that is missing',
  },
  {
    pattern: /\bworth (?:a line|one|a word)\b/gi,
    instead: 'log a warning, print',
    reason: 'says how the author feels and not what the program does',
  },
  {
    pattern: /\b(?:better|whole) story\b|\bits echo\b/gi,
    instead: 'underlying cause',
    reason: 'a riddle',
  },
  {
    pattern: /\bsource alone\b|\b(?:for|to) reading alone\b/gi,
    instead: 'read-only',
    reason: 'the field has a word for it',
  },
  {
    pattern: /\bforgetful\b/gi,
    instead: 'disabled, without a cache',
    reason: 'a riddle',
  },
];

/** A sentence that is nothing but a subordinate clause: "What a node reads.", "How it is drawn." */
export const CLAUSE_HABIT: ProseHabit = {
  pattern: /(?:^|[.!?:]\s+|\n\s*)((?:What|How|Which)\b(?![^.!?\n]*\?)[^.!?\n]*)/g,
  instead: 'a verb: "Lists …", "Computes …", "Describes …"',
  reason: 'no sentence: the reader waits for its verb',
};
