"""The workflow patterns WCP-1 to WCP-20, each as a definition and a test of what defines it.

The catalogue is that of van der Aalst, ter Hofstede, Kiepuszewski and Barros (2003), in the words of its
revision by Russell and others (2006). By number and name, what expresses each here:

Basic control flow, ``test_basic.py``
  1. Sequence: the steps of a list, each of which needs the one above it
  2. Parallel split: several steps that need the same step
  3. Synchronization: ``needs`` with several names (``join: all``)
  4. Exclusive choice: ``flow.switch`` or ``flow.branch``, and steps with ``needs: jump``
  5. Simple merge: a step that needs the ends of all alternatives; a path not taken is not waited for

Advanced branching and synchronization, ``test_branching.py``
  6. Multi-choice: an ``if`` on each branch
  7. Structured synchronizing merge: ``join: all`` behind these, for a skipped step has ended
  8. Multi-merge: not in one definition, where a step runs once a visit: what comes after the merge is a
     workflow that each branch runs by ``flow.call``
  9. Structured discriminator: ``join: any``

Structural patterns, ``test_structural.py``
  10. Arbitrary cycles: jumps (``next``, ``flow.switch``, ``on_error``) to any step, into loops and out
  11. Implicit termination: a run is done when nothing of it is left to do

Multiple instances, ``test_instances.py``
  12. Multiple instances without synchronization: ``for_each`` with ``flow.call`` and ``wait: false``
  13. Multiple instances with a priori design-time knowledge: ``for_each`` over a list in the definition, or
      the steps written out
  14. Multiple instances with a priori run-time knowledge: ``for_each`` over what input, state or a step gives
  15. Multiple instances without a priori run-time knowledge: a loop that starts them by ``flow.call`` with
      ``wait: false`` and a ``key``, then ``for_each`` with ``flow.call`` by the same keys, which waits

State-based patterns, ``test_state.py``
  16. Deferred choice: ``flow.wait`` for several events, and ``flow.switch`` on the one that came
  17. Interleaved parallel routing: ``for_each`` with ``max_parallel: 1`` in the order of a list; a loop
      around a deferred choice where people choose the order
  18. Milestone: a key of the state that one branch writes and another asks for when it is to act; a
      ``shared`` wait where it is enough that it was reached

Cancellation, ``test_cancellation.py``
  19. Cancel task: ``timeout``, or a jump to a step before it, or the verb ``skip``
  20. Cancel case: the verb ``cancel``, or ``flow.fail`` behind an event
"""
