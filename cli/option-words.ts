/** The command line's words for the options that an error's advice names, and for what it can add to an error. */
import { type Advice, type OptionName, type OptionReference, renderAdvice } from '../base/advice.ts';

/** The words of a front end. */
export interface Words {
  /** Writes an option as the user gives it. */
  readonly option: (reference: OptionReference) => string;
  /** Says where the rest of a shortened value is. */
  readonly shortened: string;
  /** Asks for the report of a defect. */
  readonly defect: string;
}

/** The flag of each option: the one that examples use where there are two. */
export const FLAGS: Readonly<Record<OptionName, string>> = {
  repository: '-r',
  inputTag: '-i',
  inputDigest: '-g',
  outputTag: '-o',
  targetRepository: '--target-repository',
  source: '--source',
  platform: '--platform',
  username: '-u',
  plain: '--plain',
  insecure: '--insecure',
  rootCa: '--root-ca',
  certDir: '--cert-dir',
  clientCert: '--client-cert',
  chunkSize: '--chunk-size',
  minRate: '--min-rate',
  maxWait: '--max-wait',
  mode: '--mode',
  algorithm: '--algorithm',
  virtualSize: '--vsize',
  blockSize: '--bs',
  level: '--level',
  span: '--span',
  referrer: '--referrer',
  copyReferrers: '--copy-referrers',
  flatten: '--flatten',
  maxFiles: '--max-files',
  maxLayerSize: '--max-layer-size',
  prefetchStrict: '--prefetch-strict',
  timeout: '--timeout',
  concurrency: '--concurrency-limit',
  workers: '--workers',
  maxMemory: '--max-memory',
  workDirectory: '-d',
  cache: '--cache',
  force: '--force',
  quick: '--quick',
  devices: '--devices',
  keepSetuid: '--keep-setuid',
};

/** Options that a command calls otherwise than the others do, by the command's name. */
const FLAGS_OF_COMMAND: Readonly<Record<string, Partial<Record<OptionName, string>>>> = {
  'prefetch add': { prefetchStrict: '--strict' },
};

/** The words for a call of `command` (`convert`, `prefetch add`). */
export function flagWords(command = ''): Words {
  return {
    option: ({ option, value }) => {
      const flag = FLAGS_OF_COMMAND[command]?.[option] ?? FLAGS[option];
      return value === undefined ? flag : `${flag} ${value}`;
    },
    shortened: '… (--verbose shows all of it)',
    defect: 'This is a defect of accel: please report it with the output of --verbose.',
  };
}

/** The advice of an error in the words of a front end. */
export function adviceText(advice: Advice, words: Words): string {
  return renderAdvice(advice, words.option);
}
