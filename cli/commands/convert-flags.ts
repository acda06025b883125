/** The flags of `accel convert`: their types, and the declaration of those that no other command has. */
import { type Command, Option } from 'commander';
import type { Algorithm, Mode } from '../../converter/options.ts';
import { DEFAULT_MAX_MEMORY, defaultWorkers } from '../../converter/settings.ts';
import { parseBlockSize, parseDuration, parseInteger, parseMemory, parseSpan, parseVsize } from '../parse-values.ts';
import type { PrefetchFlags } from '../prefetch-flags.ts';
import type { RegistryFlags } from '../registry-flags.ts';
import type { ReuseFlags } from '../reuse-flags.ts';
import { maxLayerSizeOption } from '../size-flag.ts';

/** The parsed flags of `accel convert`. */
export interface ConvertFlags extends RegistryFlags, PrefetchFlags, ReuseFlags {
  readonly repository?: string;
  readonly timeout?: number;
  readonly inputTag?: string;
  readonly inputDigest?: string;
  readonly outputTag?: string;
  readonly targetRepository?: string;
  readonly targetUsername?: string;
  readonly dryRun?: boolean;
  readonly overlaybd?: string;
  readonly turboOCI?: string;
  readonly fastoci?: string;
  readonly mode?: Mode;
  readonly platform: readonly string[];
  readonly flatten?: boolean;
  readonly flattenAbove?: number;
  readonly layout?: 'source' | 'startup';
  readonly oci?: boolean;
  readonly referrer?: boolean;
  readonly subject?: boolean;
  readonly copyReferrers?: boolean;
  readonly pieceList: boolean;
  readonly vsize?: number;
  readonly algorithm: Algorithm;
  readonly level?: number;
  readonly bs: number;
  readonly span: number;
  readonly maxFiles: number;
  readonly maxLayerSize: number;
  readonly concurrencyLimit: number;
  readonly workers: number;
  readonly maxMemory: number;
  readonly dir?: string;
  readonly upload: boolean;
  readonly force?: boolean;
  readonly cache: boolean;
  readonly dumpManifest?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

/** Declares the flags that decide the bytes of the result. */
export function addArtifactFlags(command: Command): void {
  command
    .option('--flatten', 'make one full layer of all, without the files that upper layers replace or delete')
    .addOption(
      new Option(
        '--flatten-above <n>',
        'leave the lowest n layers as they are, shared with other images, and flatten those above them',
      ).argParser(parseInteger('--flatten-above', 0, 65_535)),
    )
    .addOption(
      new Option(
        '--layout <order>',
        'order of the data in layers: startup puts what a start reads at the front',
      ).choices(['source', 'startup']),
    )
    .option('--oci', 'write OCI media types whatever the source uses')
    .option('--referrer', 'link the results to the source as its referrers: it becomes their subject; implies --oci')
    .option('--subject', 'the same as --referrer')
    .option(
      '--copy-referrers',
      'attach what refers to the source to the results: bills of materials as copies, signatures and attestations as links',
    )
    .addOption(
      new Option(
        '--vsize <size>',
        'size of the virtual block device, such as 64G; that, or more when needed, unless given',
      ).argParser(parseVsize),
    )
    .addOption(new Option('--algorithm <name>', 'compression of blocks').choices(['lz4', 'zstd']).default('zstd'))
    .addOption(
      new Option('--bs <size>', 'size of a compressed block: 4K, 8K, 16K, 32K; 64K where all content shrinks')
        .argParser(parseBlockSize)
        .default(32_768, '32K'),
    )
    .addOption(
      new Option(
        '--level <n>',
        'smaller layers in more time, the higher: 1 to 22 for zstd (1 unless given), 3 to 12 for LZ4 (fastest unless given)',
      ).argParser(parseInteger('--level', 1, 22)),
    )
    .addOption(
      new Option('--span <bytes>', 'output between two access points of a gzip index')
        .argParser(parseSpan)
        .default(2 ** 20, '1M'),
    )
    .addOption(new Option('--fstype <type>', 'file system of the device').choices(['ext4']).default('ext4'))
    .addOption(
      new Option('--max-files <n>', 'files and directories an image may hold')
        .argParser(parseInteger('--max-files', 1, 2 ** 32 - 1))
        .default(1_000_000),
    )
    .addOption(maxLayerSizeOption())
    .option(
      '--no-piece-list',
      'make no list of piece hashes of each layer, by which accel agent checks what peers send',
    );
}

/** Declares the flags of the run: threads, memory, caches, output. */
export function addRunFlags(command: Command): void {
  command
    .addOption(
      new Option('--concurrency-limit <n>', 'manifests and uploads in flight')
        .argParser(parseInteger('--concurrency-limit', 1, 64))
        .default(4),
    )
    .addOption(
      new Option('--workers <n>', 'compress threads; 0 compresses in the main thread')
        .argParser(parseInteger('--workers', 0, 256))
        .default(defaultWorkers(), 'one less than the processors, of two both'),
    )
    .addOption(
      new Option('--max-memory <bytes>', 'memory that threads and buffers are sized for, at least 256M')
        .argParser(parseMemory)
        .default(DEFAULT_MAX_MEMORY, '512M'),
    )
    .option(
      '--timeout <duration>',
      'end the run after so long, such as 30m or 1h30m, with nothing tagged; no limit unless given',
      parseDuration('--timeout'),
    )
    .option('-d, --dir <dir>', 'folder for temporary files; a new folder in it is made and removed')
    .option('--dry-run', 'say what would be done; read manifests alone and write nothing')
    .option('--no-upload', 'convert, but push and tag nothing')
    .option(
      '--no-cache',
      'convert layers again that an earlier run converted; keep no record of them in the repository',
    )
    .option('--force', 'convert again even if up to date, overwrite a tag of the other mode')
    .option('--dump-manifest', 'print the manifests on standard output')
    .option('--json', 'print one JSON document on standard output, and nothing else but warnings and errors')
    .option('-q, --quiet', 'print the pushed references and nothing else')
    .option('--verbose', 'report every step; errors come with their stack');
}
