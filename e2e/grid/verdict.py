"""What the Autobahn suite found: cases by verdict, and each that failed. Ends with 1 where one did."""

import collections
import json
import sys

with open(sys.argv[1]) as report:
    cases = json.load(report)["grid"]
passing = {"OK", "NON-STRICT", "INFORMATIONAL"}
counts = collections.Counter(case["behavior"] for case in cases.values())
# How the connection ended is a verdict of its own.
endings = collections.Counter(case["behaviorClose"] for case in cases.values())
failed = {
    name: case for name, case in cases.items() if not {case["behavior"], case["behaviorClose"]} <= passing
}
print(f"autobahn: {len(cases)} cases, behaviour {dict(counts)}, endings {dict(endings)}")
for name in sorted(failed, key=lambda name: [int(part) for part in name.split(".")]):
    case = failed[name]
    print(f"autobahn: case {name}: {case['behavior']}, close {case['behaviorClose']}, code {case['remoteCloseCode']}")
# A suite that asked nothing has found nothing.
sys.exit(0 if len(cases) >= 10 and not failed else 1)
