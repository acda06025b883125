/**
 * Advice that names options without spelling them. A hint below the command line and the Action says which option it
 * means; each front end writes its own word for it: a flag, an input, a setting of the library.
 */

/**
 * Options that a hint may name. The front ends have a table of words over this union, so a new name does not compile
 * until each of them has a word for it.
 */
export type OptionName =
  // the image and its tags
  | 'repository'
  | 'inputTag'
  | 'inputDigest'
  | 'outputTag'
  | 'targetRepository'
  | 'source'
  | 'platform'
  // the registry
  | 'username'
  | 'plain'
  | 'insecure'
  | 'rootCa'
  | 'certDir'
  | 'clientCert'
  | 'chunkSize'
  | 'minRate'
  | 'maxWait'
  // the artifact
  | 'mode'
  | 'algorithm'
  | 'virtualSize'
  | 'blockSize'
  | 'level'
  | 'span'
  | 'referrer'
  | 'copyReferrers'
  | 'flatten'
  | 'maxFiles'
  | 'maxLayerSize'
  | 'prefetchStrict'
  // the run
  | 'timeout'
  | 'concurrency'
  | 'workers'
  | 'maxMemory'
  | 'workDirectory'
  | 'cache'
  | 'force'
  | 'quick'
  // files out of an image
  | 'devices'
  | 'keepSetuid';

/** An option as a hint mentions it. Plain data, so that a worker thread can send it. */
export interface OptionReference {
  readonly option: OptionName;
  /** The value to give it; in capitals (`TAG`) it is a placeholder for what the user chooses. */
  readonly value?: string;
}

/** Advice: text, and the options in between. */
export type Advice = readonly (string | OptionReference)[];

/** Mentions an option in a {@link advise}, with a value (`0`) or the placeholder of one (`TAG`) where that helps. */
export function option(name: OptionName, value?: string | number): OptionReference {
  return value === undefined ? { option: name } : { option: name, value: String(value) };
}

/** Tag of a template: text with options, as in advise\`Raise the bound with ${option('maxFiles')}.\`. */
export function advise(texts: TemplateStringsArray, ...values: readonly (string | number | OptionReference)[]): Advice {
  const parts: (string | OptionReference)[] = [];
  texts.forEach((text, index) => {
    const value = values[index];
    if (text !== '') parts.push(text);
    if (value !== undefined) parts.push(typeof value === 'number' ? String(value) : value);
  });
  return parts;
}

/** The advice as text, each option as `word` has it. */
export function renderAdvice(parts: Advice, word: (reference: OptionReference) => string): string {
  return parts.map((part) => (typeof part === 'string' ? part : word(part))).join('');
}

/** The word of the library, which is the name itself: `maxFiles`, `workers: 0`. */
export function libraryWord({ option: name, value }: OptionReference): string {
  return value === undefined || isPlaceholder(value) ? name : `${name}: ${value}`;
}

/** Whether a value is a placeholder, such as `TAG` or `HOST/NAME`. */
export function isPlaceholder(value: string): boolean {
  return /[A-Z]/.test(value) && value === value.toUpperCase();
}
