/** `accel version`: the version, and what it runs on, as a report of a defect needs them. */
import { Command } from 'commander';
import { VERSION } from '../../base/version.ts';
import type { CommandContext } from '../context.ts';

const EXAMPLES = `
Examples:
  $ accel version
  The version number only:
    $ accel --version
`;

/** Declares the command. */
export function versionCommand(context: CommandContext): Command {
  return new Command('version')
    .summary('print the version')
    .description('Prints the version of accel, and the versions of Node.js and the system that it runs on.')
    .addHelpText('after', EXAMPLES)
    .action(() => {
      const { version, platform, arch } = process;
      context.stdout.write(`accel ${VERSION}\nNode.js ${version.slice(1)} on ${platform} ${arch}\n`);
    });
}
