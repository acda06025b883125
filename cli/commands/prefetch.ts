/** `accel prefetch`: what a node fetches before a container asks for it. */
import { Command } from 'commander';
import type { CommandContext } from '../context.ts';
import { prefetchAddCommand } from './prefetch-add.ts';
import { prefetchRecordCommand } from './prefetch-record.ts';
import { prefetchShowCommand } from './prefetch-show.ts';
import { prefetchWarmCommand } from './prefetch-warm.ts';

const EXAMPLES = `
Examples:
  $ accel prefetch record registry.example.com/team/app:1.2_accelerated > list
  $ accel prefetch add registry.example.com/team/app:1.2_accelerated list
  $ accel prefetch show registry.example.com/team/app:1.2_accelerated
  $ accel prefetch warm --all-nodes registry.example.com/team/app:1.2_accelerated
`;

/** Declares the command. */
export function prefetchCommand(context: CommandContext): Command {
  return new Command('prefetch')
    .summary('choose the files that a node fetches first')
    .description(
      'An accelerated image may carry a list of files that a node fetches while the container starts, before they are ' +
        'asked for. Make such a list, look at the one that an image has, put one on, or bring its files to the nodes ahead.',
    )
    .addHelpText('after', EXAMPLES)
    .addCommand(prefetchRecordCommand(context))
    .addCommand(prefetchShowCommand(context))
    .addCommand(prefetchAddCommand(context))
    .addCommand(prefetchWarmCommand(context));
}
