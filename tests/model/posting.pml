/* SPDX-License-Identifier: MIT */
/*
 * The posting protocol of apic/ and vmx/, step by step: PIR, ON, SN, NV, NDST; notification, wake-up,
 * blocking, the sleep of an idle CPU, migration of a vCPU between two CPUs, APICv inhibited and allowed;
 * three posters, which are other CPUs, a device that posts through an IOMMU, and the vCPU's own timer.
 * Only the interrupts are counted: the guest exits, halts, is scheduled away and migrates, and APICv
 * changes, as often as they like. Claim: each interrupt is delivered exactly once. A lost one shows as an
 * invalid end state (everybody waits for good), a duplicated one as a failed assertion.
 *
 * What the names stand for. Poster: lapic_accept, pi_post, poke. Cpu: vcpu_scheduler_run in vmx/schedule.c,
 * `idle` there (STI; HLT; CLI), `other`: another vCPU runs; `settle`: settle() in vmx/run.c with halt_end
 * and halt_block; `entry`: event_prepare; `quiet`: guest mode until something happens to it. Interrupts are off
 * in root mode but for the sleep in `idle`; they stay in the physical IRR until a VM exit acknowledges one.
 *
 * Memory is sequentially consistent: x86 is so for locked operations and fences, and the code has one between
 * each store and load that matter. The one plain store, mode := ROOT after an exit, may come as late as the
 * owner's next locked operation. Mutants named NO_BARRIER let a load overtake the store before it.
 *
 * Steps that nobody else can tell apart are one step. A kick and a notification are one bit in IRR: in guest
 * mode with APICv either can have been sent. Delivery is in any order, so software posters are alike: they are
 * numbered in the order in which they start.
 *
 * Rivet has no device yet that posts by itself. What serve() does for one under DEVICES, to look for ON in the
 * handler of the wake-up vector, is what it needs then; without it this model finds the lost wake-up.
 *
 * holds: SOFTWARE=3
 * holds: SOFTWARE=2 DEVICES=1
 * holds: SOFTWARE=1 DEVICES=1 TIMERS=1
 * holds: SOFTWARE=2 PROTECTED=1
 * small: SOFTWARE=2
 * small: SOFTWARE=1 DEVICES=1
 * small: SOFTWARE=1 TIMERS=1
 * small: SOFTWARE=1 PROTECTED=1
 * mutants of SOFTWARE=2: ON_BEFORE_PIR PIR_BEFORE_ON PIR_NOT_EXCHANGED ENTRY_NO_BARRIER BLOCK_NO_BARRIER
 * mutants of SOFTWARE=2: POSTER_NO_BARRIER BLOCK_NO_CHECK PULL_ONLY_ACTIVE WAKE_NO_COMPARE NOTICE_BEFORE_WAKE
 * mutants of SOFTWARE=2: HLT_NO_SHADOW MIGRATE_NO_NOTICE
 * mutants of SOFTWARE=1 DEVICES=1: BLOCK_NO_CHECK LOAD_NO_CHECK WAKE_WITHOUT_ON
 * mutants of SOFTWARE=1 TIMERS=1: TIMER_NOT_ARMED
 * mutants of SOFTWARE=1 PROTECTED=1: BLOCK_NO_CHECK NO_SELF_NOTIFICATION
 */

#ifndef SOFTWARE
#define SOFTWARE 1
#endif
#ifndef DEVICES
#define DEVICES 0
#endif
#ifndef TIMERS
#define TIMERS 0
#endif
#ifndef PROTECTED
#define PROTECTED 0 /* a protected local APIC: software pulls nothing, APICv stays active */
#endif
#define SOURCES (SOFTWARE + DEVICES + TIMERS)
#define DEVICE  SOFTWARE
#define TIMER   (SOURCES - 1)

mtype = { ROOT, GUEST, BLOCKED };
mtype = { NOTIFICATION, WAKEUP };

/* The posted-interrupt descriptor. */
bool pir[SOURCES];
bool on;
#if DEVICES /* nobody else looks at these */
bool sn;
mtype nv = NOTIFICATION;
bit ndst;
#endif

/* The vCPU. */
mtype mode = ROOT;
bit home; /* the CPU that owns it */
bool halted;
bool apicv = true;
bool virr[SOURCES], delivered[SOURCES];

/* IRR of the two CPUs' local APICs. */
#define IRR(vector, c) irr[2 * (vector) + (c)]
bool irr[6];
#define V_TIMER  0
#define V_POKE   1 /* notification or kick */
#define V_WAKEUP 2 /* the highest */

#if TIMERS
bool due;          /* the time has come */
bool armed = true; /* the guest's timer */
bool host_armed[2];
#endif

#if SOURCES == 1
#define ANY(bits) bits[0]
#define ALL(bits) bits[0]
#elif SOURCES == 2
#define ANY(bits) (bits[0] || bits[1])
#define ALL(bits) (bits[0] && bits[1])
#elif SOURCES == 3
#define ANY(bits) (bits[0] || bits[1] || bits[2])
#define ALL(bits) (bits[0] && bits[1] && bits[2])
#else
#define ANY(bits) (bits[0] || bits[1] || bits[2] || bits[3])
#define ALL(bits) (bits[0] && bits[1] && bits[2] && bits[3])
#endif
#define DONE     ALL(delivered)
#define RUNNABLE (home == me && mode != BLOCKED)
#define WAITING  (home == me && mode == BLOCKED)
#define INTR     (IRR(V_WAKEUP, me) || IRR(V_POKE, me) || IRR(V_TIMER, me))

/* --- Posters ------------------------------------------------------------------------------------ */

proctype Poster(byte i)
{
    mtype seen;
    bool first, won;
    bit c;

    atomic {
#ifdef ON_BEFORE_PIR
        first = !on;
        on = true;
#else
        pir[i] = true;
#endif
        if
        :: i + 1 < SOFTWARE -> run Poster(i + 1)
        :: else
        fi
    }
#ifdef ON_BEFORE_PIR
    pir[i] = true;
#else
#ifdef POSTER_NO_BARRIER
    seen = mode;
#endif
    d_step { first = !on; on = true }
#endif
    if
    :: first
    :: else -> goto out
    fi;
#ifndef POSTER_NO_BARRIER
    seen = mode;
#endif
    if
    :: seen == GUEST ->
        c = home;
        IRR(V_POKE, c) = true
    :: seen == BLOCKED ->
#ifdef NOTICE_BEFORE_WAKE
        c = home;
        IRR(V_WAKEUP, c) = true;
#endif
        d_step {
            won = (mode == BLOCKED);
            if
            :: won -> mode = ROOT
#ifdef WAKE_NO_COMPARE
            :: else -> mode = ROOT
#else
            :: else
#endif
            fi
        }
#ifndef NOTICE_BEFORE_WAKE
        if
        :: won -> c = home; IRR(V_WAKEUP, c) = true
        :: else
        fi
#endif
    :: seen == ROOT
    fi;
out:
    atomic { seen = 0; first = false; won = false; c = 0 }
}

#if DEVICES
/* An IOMMU changes the descriptor in one step; its message arrives later. */
proctype Device()
{
    mtype vector;
    bit c;

    if
    :: d_step { sn || on -> pir[DEVICE] = true }
    :: d_step { !sn && !on -> pir[DEVICE] = true; on = true; c = ndst; vector = nv }
        if
        :: vector == NOTIFICATION -> IRR(V_POKE, c) = true
        :: vector == WAKEUP -> IRR(V_WAKEUP, c) = true
        fi;
        d_step { vector = 0; c = 0 }
    fi
}
#endif

#if TIMERS
/* The TSC, and the local APIC timers of the CPUs in TSC-deadline mode. */
proctype Clock()
{
    due = true;
end:
    do
    :: d_step { host_armed[0] -> host_armed[0] = false; IRR(V_TIMER, 0) = true }
    :: d_step { host_armed[1] -> host_armed[1] = false; IRR(V_TIMER, 1) = true }
    od
}
#endif

/* --- The owner ---------------------------------------------------------------------------------- */

/* The owner's locked operations make its plain store of ROOT visible. */
inline drain()
{
    if
    :: mode == GUEST -> mode = ROOT
    :: else
    fi
}

inline take_word(i)
{
#ifdef PIR_NOT_EXCHANGED
    virr[i] = virr[i] || pir[i];
    pir[i] = false
#else
    if
    :: d_step { pir[i] -> virr[i] = true; pir[i] = false }
    :: else
    fi
#endif
}

inline empty_pir()
{
    take_word(0);
#if SOURCES > 1
    take_word(1);
#endif
#if SOURCES > 2
    take_word(2);
#endif
#if SOURCES > 3
    take_word(3);
#endif
}

/* Requests to look at the inhibitions again come at any time. In root mode it makes no difference. */
inline handle_request()
{
    if
    :: apicv = true
    :: apicv = false
    fi
}

#ifdef PULL_ONLY_ACTIVE
#define PULLS (on && apicv)
#else
#define PULLS on
#endif

/* priority_pull_posted; ON stays once it is seen. */
#ifdef PIR_BEFORE_ON
#define CLEAR_ON_FIRST skip
#define CLEAR_ON_LAST on = false
#else
#define CLEAR_ON_FIRST on = false
#define CLEAR_ON_LAST skip
#endif

inline take_interrupt(i)
{
    assert(!delivered[i]);
#if PROTECTED
    halted = false;
#endif
    virr[i] = false;
    delivered[i] = true
}

inline deliver_one()
{
    if
    :: virr[0] -> take_interrupt(0)
#if SOURCES > 1
    :: virr[1] -> take_interrupt(1)
#endif
#if SOURCES > 2
    :: virr[2] -> take_interrupt(2)
#endif
#if SOURCES > 3
    :: virr[3] -> take_interrupt(3)
#endif
    fi
}

/* The CPU acknowledges its highest interrupt; EOI comes before the handler, which only says: look again. */
inline serve()
{
    if
    :: IRR(V_WAKEUP, me) ->
        IRR(V_WAKEUP, me) = false;
#if DEVICES && !defined(WAKE_WITHOUT_ON) /* which do not write mode */
        if
        :: WAITING && on -> mode = ROOT
        :: else
        fi
#endif
    :: !IRR(V_WAKEUP, me) && IRR(V_POKE, me) -> IRR(V_POKE, me) = false
    :: !IRR(V_WAKEUP, me) && !IRR(V_POKE, me) -> IRR(V_TIMER, me) = false
    fi
}

/* One interrupt after the other as they come, at least one. */
inline serve_some()
{
    do
    :: serve();
        if
        :: !INTR -> break
        :: INTR
        :: break
        fi
    od
}

/* poll_blocked: the timer is one more poster, on this CPU; the notice to itself is a flag. */
inline poll_blocked()
{
#if TIMERS
    if
    :: atomic { WAITING && due && armed -> armed = false; pir[TIMER] = true }
        d_step { seen_on = on; on = true }
        d_step {
            if
            :: !seen_on && mode == BLOCKED -> mode = ROOT
            :: else
            fi;
            seen_on = false
        }
    :: else
    fi
#endif
}

proctype Cpu(bit me)
{
    bool old_sn, seen_on, watched;

choose:
    if
    :: DONE -> goto out
    :: RUNNABLE -> goto load
    :: atomic { RUNNABLE -> /* lapic_put, then the other CPU is told */
           drain();
#if DEVICES
           sn = true;
#endif
           home = 1 - me
       }
#ifndef MIGRATE_NO_NOTICE
        IRR(V_WAKEUP, 1 - me) = true;
#endif
        goto choose
    :: atomic { RUNNABLE && INTR -> serve_some() } goto choose /* another vCPU has its turn */
    :: WAITING -> goto idle
    :: WAITING -> goto other
    :: home != me -> goto idle
    fi;

other: /* another vCPU runs here without an exit of its own; notifications and kicks do not end that */
#if TIMERS
    watched = WAITING && armed; /* blocked_deadline */
#endif
    if
    :: DONE -> goto out
    :: atomic { INTR && (IRR(V_WAKEUP, me) || !IRR(V_POKE, me)) -> serve(); watched = false; goto choose }
    :: atomic { INTR && !IRR(V_WAKEUP, me) && IRR(V_POKE, me) -> serve(); goto other }
#if TIMERS
    :: watched && due ->
        poll_blocked();
        watched = false;
        if
        :: RUNNABLE -> goto choose
        :: else -> goto other
        fi
#endif
    fi;

idle:
#if TIMERS
    watched = WAITING && armed;
    if
    :: watched && due -> goto poll
    :: watched && !due ->
#ifndef TIMER_NOT_ARMED
        host_armed[me] = true
#endif
    :: else
    fi;
#endif
#ifdef HLT_NO_SHADOW
    if
    :: atomic { INTR -> serve_some() }
    :: !INTR
    fi;
#endif
    if
    :: DONE -> goto out
    :: atomic { INTR -> serve_some() }
    fi;
#if TIMERS
    host_armed[me] = false;
poll:
    poll_blocked();
    watched = false;
#endif
    goto choose;

load:
    atomic {
        drain();
#if DEVICES
        old_sn = sn;
        sn = false;
        nv = NOTIFICATION;
        ndst = me
#endif
    }
#if DEVICES && !defined(LOAD_NO_CHECK)
    if
    :: old_sn && ANY(pir) -> on = true
    :: else
    fi;
    old_sn = false;
#endif

settle:
#if TIMERS
    if
    :: atomic { due && armed -> drain(); armed = false; pir[TIMER] = true; on = true }
    :: else
    fi;
#endif
    /* halt_end */
    atomic {
        if
        :: !halted -> goto runnable
#if PROTECTED /* lapic_may_wake: hardware decides, with the vCPU in HLT */
        :: halted && (on || ANY(virr)) -> goto runnable
        :: halted && !on && !ANY(virr) -> goto settled
        fi
    }
#else
        :: else
        fi;
        if
        :: PULLS -> drain(); CLEAR_ON_FIRST
        :: else -> goto settled
        fi
    }
    empty_pir();
    CLEAR_ON_LAST;
#endif
settled:
    /* halt_block */
    atomic {
        if
        :: ANY(virr) -> halted = false; goto runnable
        :: else
        fi;
#ifndef BLOCK_NO_BARRIER
        mode = BLOCKED
#endif
    }
    atomic { /* NV := wake-up vector unless ON is set, in one compare-and-exchange */
        seen_on = on;
#ifdef BLOCK_NO_CHECK
        seen_on = false;
#endif
#if DEVICES
        if
        :: !seen_on -> nv = WAKEUP
        :: else
        fi
#endif
    }
#ifdef BLOCK_NO_BARRIER
    mode = BLOCKED;
#endif
    if
    :: !seen_on -> goto choose
    :: else -> seen_on = false
    fi;
    mode = ROOT;
    goto load;

runnable:
    if
    :: goto choose /* reschedule: woken vCPUs go first, or the slice is over */
    :: skip
    fi;
#ifdef ENTRY_NO_BARRIER
    seen_on = on;
#endif
    mode = GUEST;
#if PROTECTED /* protected_before_entry: a notification to itself, which waits for guest mode */
    if
#ifndef NO_SELF_NOTIFICATION
    :: on -> IRR(V_POKE, me) = true
#endif
    :: else
    fi;
#else
    atomic {
        handle_request();
#ifdef ENTRY_NO_BARRIER
        if
        :: seen_on -> seen_on = false; CLEAR_ON_FIRST
#else
        if
        :: PULLS -> CLEAR_ON_FIRST
#endif
        :: else -> goto entered
        fi
    }
    empty_pir();
    CLEAR_ON_LAST;
entered:
    atomic {
        if
        :: !apicv && ANY(virr) -> deliver_one()
        :: else
        fi
    }
#endif

guest:
    if
    :: goto quiet
    :: goto leave
    :: halted = true; goto leave
    fi;
quiet:
    if
    :: DONE -> goto out
        /* A notification: posted-interrupt processing. */
    :: atomic { apicv && IRR(V_POKE, me) && !IRR(V_WAKEUP, me) -> IRR(V_POKE, me) = false }
        on = false;
        empty_pir();
        goto guest
    :: atomic { INTR -> serve() } /* an exit, which acknowledges */
#if TIMERS
    :: due && armed /* the preemption timer */
#endif
    :: atomic { apicv && ANY(virr) -> deliver_one(); goto guest }
    :: !apicv && ANY(virr) /* the interrupt window */
    fi;
leave: /* visible now, or only with the next locked operation */
    atomic {
        apicv = true; /* whatever it was: it counts in guest mode only */
        if
        :: mode = ROOT
        :: skip
        fi
    }
    goto settle;

out:
    assert(!ANY(pir) && !ANY(virr))
}

init {
    atomic {
        run Cpu(0);
        run Cpu(1);
#if TIMERS
        run Clock();
#endif
#if DEVICES
        run Device();
#endif
        run Poster(0)
    }
}
