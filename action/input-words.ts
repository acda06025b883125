/** The Action's words for the options that an error's advice names: its inputs, as a step sets them. */
import { isPlaceholder, type OptionName } from '../base/advice.ts';
import type { Words } from '../cli/option-words.ts';
import type { InputName } from './inputs.ts';

/** The input of each option; undefined where the Action has none. */
export const INPUTS: Readonly<Record<OptionName, InputName | undefined>> = {
  repository: 'repository',
  inputTag: 'tag',
  inputDigest: 'digest',
  outputTag: 'output-tag',
  targetRepository: 'target-repository',
  source: undefined,
  platform: 'platforms',
  username: 'username',
  plain: 'plain',
  insecure: 'insecure',
  rootCa: 'root-ca',
  certDir: undefined,
  clientCert: undefined,
  chunkSize: undefined,
  minRate: 'min-rate',
  maxWait: 'max-wait',
  mode: 'mode',
  algorithm: undefined,
  virtualSize: undefined,
  blockSize: undefined,
  level: undefined,
  span: undefined,
  referrer: 'referrer',
  copyReferrers: 'copy-referrers',
  flatten: undefined,
  maxFiles: undefined,
  maxLayerSize: undefined,
  prefetchStrict: undefined,
  timeout: 'timeout',
  concurrency: undefined,
  workers: undefined,
  maxMemory: undefined,
  workDirectory: undefined,
  cache: 'cache',
  force: 'force',
  quick: undefined,
  devices: undefined,
  keepSetuid: undefined,
};

/** Plain names of options without an input, where the option's own name is not enough. */
const PLAIN_NAMES: Partial<Record<OptionName, string>> = {
  virtualSize: 'size of the virtual device',
  blockSize: 'block size',
  flatten: 'flattening',
  maxFiles: 'bound on files',
  maxLayerSize: 'bound on the size of a layer',
  maxMemory: 'bound on memory',
  concurrency: 'number of transfers at a time',
  chunkSize: 'chunk size of uploads',
  workDirectory: 'folder for temporary files',
};

/** The words of the Action. */
export const INPUT_WORDS: Words = {
  option: ({ option, value }) => {
    const input = INPUTS[option];
    if (input === undefined)
      return `the ${PLAIN_NAMES[option] ?? option} (an option of the command line, not of the Action)`;
    if (value === undefined || isPlaceholder(value)) return `the input ${input}`;
    return `${input}: ${value}`;
  },
  shortened: '…',
  defect: 'This is a defect of accel: please report it with the log of this step.',
};
