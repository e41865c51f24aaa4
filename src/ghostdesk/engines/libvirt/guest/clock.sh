#!/bin/bash
# clock.sh UNIX-TIME: the machine slept, its clock did not go on.
exec date -u -s "@$1"
