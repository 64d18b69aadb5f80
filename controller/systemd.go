package controller

import (
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// supervisor tells systemd, or whoever else listens on NOTIFY_SOCKET, how the daemon is (sd_notify(3)). Without such a socket
// its methods do nothing.
type supervisor struct {
	said string
}

// startExtension is how much more time for its start the daemon asks for again and again while it waits for the store or the
// switch: that it waits is no failure.
const startExtension = 30 * time.Second

func (s *supervisor) ready() { notify(daemon.SdNotifyReady) }

func (s *supervisor) stopping() { notify(daemon.SdNotifyStopping) }

// waiting asks for patience; to be called at least every third of startExtension before ready.
func (s *supervisor) waiting() {
	notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", startExtension.Microseconds()))
}

// alive is the sign for the watchdog.
func (s *supervisor) alive() { notify(daemon.SdNotifyWatchdog) }

// status sets the line that `systemctl status` shows.
func (s *supervisor) status(text string) {
	if text != s.said {
		s.said = text
		notify("STATUS=" + text)
	}
}

func notify(state string) { _, _ = daemon.SdNotify(false, state) }

// watchdogPause is how often alive has to be called: twice in the time that systemd allows (sd_watchdog_enabled(3)). 0 = never.
func watchdogPause() time.Duration {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return limit / 2
}
