/**
 * The converters that accel is compared with as a whole, from a registry to a registry: which programs each needs, and
 * the commands of one conversion. The command lines are those of their own documentation and source:
 * accelerated-container-image (cmd/convertor/main.go), soci-snapshotter (cmd/soci/commands/convert.go) and nydus
 * (contrib/nydusify/cmd/nydusify.go).
 */
import { join } from 'node:path';
import { findTool } from '../tests/support/tools.ts';
import type { Command } from './child.ts';

/** Where a conversion takes place. */
export interface WholePlace {
  /** `host:port/name`: a repository of its own, with the source as the tag `latest`. */
  readonly repository: string;
  /** An empty folder of its own. */
  readonly folder: string;
}

/** A conversion by a foreign tool. */
export interface WholeConversion {
  /** Name of its row. */
  readonly what: string;
  /** The mode of accel that does the same; undefined where accel has no such mode, and the row is always measured. */
  readonly mode?: string;
  /** The tags that it makes. */
  readonly tags: readonly string[];
  commands(place: WholePlace): readonly Command[];
}

/** A foreign tool. */
export interface WholeTool {
  /** The programs that it needs on PATH, itself first. */
  readonly programs: readonly string[];
  readonly conversions: readonly WholeConversion[];
}

const SOURCE_TAG = 'latest';

/** The tools in the order of the table. */
export const WHOLE_TOOLS: readonly WholeTool[] = [
  {
    programs: ['convertor'],
    conversions: [
      convertor('full', ['--overlaybd', 'whole_full'], ['whole_full']),
      convertor('index-only', ['--turboOCI', 'whole_index'], ['whole_index']),
      convertor('both', ['--overlaybd', 'whole_full', '--turboOCI', 'whole_index'], ['whole_full', 'whole_index']),
    ],
  },
  {
    // Without containerd it reads and writes layouts, so that skopeo pulls before it and pushes after it.
    programs: ['soci', 'skopeo'],
    conversions: [
      {
        what: 'soci, with skopeo',
        tags: ['whole_soci'],
        commands({ repository, folder }) {
          const [source, result] = [join(folder, 'source'), join(folder, 'result')];
          const pull = ['copy', '--src-tls-verify=false', `docker://${repository}:${SOURCE_TAG}`, `oci:${source}`];
          const push = ['copy', '--all', '--dest-tls-verify=false', `oci:${result}`];
          return [
            { program: 'skopeo', args: pull },
            { program: 'soci', args: ['convert', '--standalone', '--format', 'oci-dir', source, result] },
            { program: 'skopeo', args: [...push, `docker://${repository}:whole_soci`] },
          ];
        },
      },
    ],
  },
  {
    programs: ['nydusify', 'nydus-image'],
    conversions: [
      {
        what: 'nydusify',
        tags: ['whole_nydus'],
        commands({ repository, folder }) {
          const images = ['--source', `${repository}:${SOURCE_TAG}`, '--target', `${repository}:whole_nydus`];
          const plain = ['--source-insecure', '--target-insecure'];
          return [{ program: 'nydusify', args: ['convert', ...images, ...plain, '--work-dir', join(folder, 'nydus')] }];
        },
      },
    ],
  },
];

/** The programs of `tool` that are not on PATH; one beside the tool itself says for which. */
export function missingPrograms({ programs }: WholeTool): string[] {
  const [tool] = programs;
  return programs
    .filter((program) => findTool(program) === undefined)
    .map((program) => (program === tool ? program : `${program} (for ${tool})`));
}

function convertor(mode: string, output: readonly string[], tags: readonly string[]): WholeConversion {
  return {
    what: `convertor ${mode}`,
    mode,
    tags,
    commands: ({ repository, folder }) => [
      {
        program: 'convertor',
        args: ['-r', repository, '--plain', '-i', SOURCE_TAG, ...output, '-d', join(folder, 'convertor')],
      },
    ],
  };
}
