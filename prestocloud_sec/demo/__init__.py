# SPDX-License-Identifier: Apache-2.0
"""The guided end-to-end run: ``prestocloud-sec demo``, or `run` from Python.

``capture`` holds the conversation that is played, ``station`` puts the cjdns parts together without a socket,
``process`` and ``wire`` are the operating-system processes, ``run`` starts them and puts together what they tell.
``filters`` is the second stage: the same packets through tcpdump's filters on every engine. ``trust`` is the third: the
edge device's TPM is attested by the gateway, and keeps a secret; ``parties`` are the two.
"""

from prestocloud_sec.demo.run import DemoError, Event, Hop, Journey, Summary, run

__all__ = ["DemoError", "Event", "Hop", "Journey", "Summary", "run"]
