#!/bin/bash
# Generated MPI programs between User-Mode Linux guests: see test/suites/storm.sh.
# Time limit: 500 s
set -euo pipefail
# shellcheck source=test/apps/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=test/apps/storm-in-guests.sh
. "$top/test/apps/storm-in-guests.sh"

need_lab uml 3
storm fixed --seeds 101..104 --np 3 --max 512K
storm tiny --seeds 105..107 --np 3 --max 128K --tiny
storm threads --seeds 108..109 --np 2 --max 128K --threads 2
storm fresh --fresh --seconds 8 --np 3 --max 256K
storm_rate
closing_line
