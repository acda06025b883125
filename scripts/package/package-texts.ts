/** The texts that go along with an executable. */
import { readFileSync } from 'node:fs';
import { bashCompletion } from '../../cli/completion/bash.ts';
import { fishCompletion } from '../../cli/completion/fish.ts';
import { completionModel } from '../../cli/completion/model.ts';
import { powershellCompletion } from '../../cli/completion/powershell.ts';
import { zshCompletion } from '../../cli/completion/zsh.ts';
import { loadWholeProgram } from '../cli-docs.ts';
import { renderManPage } from '../man-page.ts';
import type { PackageTexts } from './debian.ts';
import type { StandaloneBundle } from './standalone-bundle.ts';
import type { TargetNode } from './targets.ts';

/** Manual, completions, and the licences of a bundle and of its Node. */
export async function packageTexts({ licenses }: StandaloneBundle, { license }: TargetNode): Promise<PackageTexts> {
  const model = completionModel(await loadWholeProgram());
  return {
    manual: await renderManPage(),
    completions: {
      bash: bashCompletion(model),
      zsh: zshCompletion(model),
      fish: fishCompletion(model),
      powershell: powershellCompletion(model),
    },
    copyright: `${licenses}\n${'-'.repeat(80)}\n\nNode.js\n\n${readFileSync(license, 'utf8')}`,
  };
}
