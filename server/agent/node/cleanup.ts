/** `accel agent cleanup`: a node's runtimes are as they were before setup. */
import { credentialFiles, takeOutCredentials } from './credential-entries.ts';
import { withNode } from './node-changes.ts';
import { findMarks, takeOutMarks } from './node-marks.ts';
import { handleRestarts, type NodeReport, type NodeRequest } from './setup.ts';

/** A request to clean up. */
export interface CleanupRequest extends NodeRequest {
  /** Goes on where the journal is damaged: with what it still says, and by marks. */
  readonly force?: boolean;
}

/**
 * Puts every file back that setup changed, and takes the agent's credentials out of overlaybd's file. Needs no configuration.
 * Without a journal it takes out what it recognises. Fails with `io-error` for a damaged journal unless forced.
 */
export async function cleanupNode(request: CleanupRequest): Promise<NodeReport> {
  return withNode(request, async (node, files) => {
    const { journal, recorded } = node;
    // Before anything is restored, since these files say what is to be looked at.
    const marks = await findMarks(files);
    const credentials = await credentialFiles(files);
    const restored = await node.restoreAll();
    // A file that could not be restored is not to lose its marks, or it would be restored to less.
    const marked =
      restored.problems.length > 0
        ? []
        : [await takeOutMarks(files, marks, { recorded, isProof: journal !== 'whole' })];
    const parts = [restored, ...marked, await takeOutCredentials(files, credentials)];
    const changes = parts.flatMap((part) => part.changes);
    const problems = parts.flatMap((part) => part.problems);
    const notes: string[] = [];
    if (restored.problems.length === 0) {
      const aside = await node.endJournal();
      if (aside !== undefined) notes.push(`the damaged journal is kept in ${aside}`);
    }
    return { changes, notes, problems, restarts: await handleRestarts(changes, files, request, notes) };
  });
}
