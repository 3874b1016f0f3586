/* SPDX-License-Identifier: MIT */
/*
 * The posting protocol of apic/ and vmx/: PIR, ON, SN, notification, wake-up, blocking, migration of a
 * vCPU between two CPUs, APICv switched at run time; two software posters (other CPUs) and one device
 * that posts through an IOMMU. Claim: each interrupt is delivered exactly once. A lost one shows as an
 * invalid end state (the owner waits for good), a duplicated one as a failed assertion.
 *
 * x86 lets a load overtake an earlier store of the same CPU unless a full barrier is between them; the
 * mutants named NO_BARRIER do the load first.
 *
 * mutants: ON_BEFORE_PIR PIR_BEFORE_ON PIR_NOT_EXCHANGED ENTRY_NO_BARRIER BLOCK_NO_BARRIER POSTER_NO_BARRIER BLOCK_NO_CHECK LOAD_NO_CHECK PULL_ONLY_ACTIVE WAKE_NO_COMPARE
 */

#define POSTERS 3 /* number 2 is the device */

mtype = { ROOT, GUEST, BLOCKED };
mtype = { NOTIFICATION, WAKEUP };

/* The posted-interrupt descriptor. */
bool pir[POSTERS];
bool on, sn;
mtype nv = NOTIFICATION;
byte ndst;

mtype mode = ROOT;     /* of the vCPU */
byte cpu;              /* the CPU that owns it */
bool apicv = true;    /* APICv */

/* Interrupts pending at the local APIC of each physical CPU. */
bool notification[2], kick[2], wakeup[2];

bool virr[POSTERS];
byte delivered;

/* How often the owner may do what is not forced upon it. */
byte exits = 2, blocks = 2, migrations = 1, toggles = 1;

inline attract()
{
    c = cpu;
    if
    :: seen == GUEST && was_active -> notification[c] = true
    :: seen == GUEST && !was_active -> kick[c] = true
#ifdef WAKE_NO_COMPARE
 */
    :: seen == BLOCKED -> mode = ROOT
#else
    :: seen == BLOCKED -> atomic { if :: mode == BLOCKED -> mode = ROOT :: else fi }
#endif
    :: seen == ROOT
    fi
}

proctype Poster(byte i)
{
    mtype seen;
    bool was_on, was_active;
    byte c;

#ifdef ON_BEFORE_PIR
    d_step { was_on = on; on = true };
    pir[i] = true;
#else
    pir[i] = true;
#ifdef POSTER_NO_BARRIER
    seen = mode;
#endif
    d_step { was_on = on; on = true };
#endif
    was_active = apicv;
#ifndef POSTER_NO_BARRIER
    seen = mode;
#endif
    if
    :: !was_on -> attract()
    :: else
    fi
}

/* Hardware changes the descriptor in one step. */
proctype Device(byte i)
{
    atomic {
        pir[i] = true;
        if
        :: !sn && !on ->
            on = true;
            if
            :: nv == NOTIFICATION -> notification[ndst] = true
            :: nv == WAKEUP -> wakeup[ndst] = true
            fi
        :: else
        fi
    }
}

/* Interrupts that reach a CPU while the vCPU does not run there. */
proctype Sink(byte c)
{
end:
    do
    :: atomic { notification[c] && !(mode == GUEST && cpu == c) -> notification[c] = false }
    :: atomic { kick[c] && !(mode == GUEST && cpu == c) -> kick[c] = false }
    :: atomic { wakeup[c] ->
           wakeup[c] = false;
           if
           :: mode == BLOCKED && on -> mode = ROOT
           :: else
           fi
       }
    od
}

inline take_word(i)
{
#ifdef PIR_NOT_EXCHANGED
    virr[i] = virr[i] || pir[i];
    pir[i] = false
#else
    d_step { virr[i] = virr[i] || pir[i]; pir[i] = false }
#endif
}

inline empty_pir()
{
    take_word(0);
    take_word(1);
    take_word(2)
}

#ifdef PULL_ONLY_ACTIVE
#define PULLS (on && apicv)
#else
#define PULLS on
#endif

inline pull()
{
    if
    :: PULLS ->
#ifdef PIR_BEFORE_ON
        empty_pir();
        on = false
#else
        on = false;
        empty_pir()
#endif
    :: else
    fi
}

inline deliver_one()
{
    d_step {
        if
        :: virr[0] -> virr[0] = false; delivered++
        :: !virr[0] && virr[1] -> virr[1] = false; delivered++
        :: !virr[0] && !virr[1] && virr[2] -> virr[2] = false; delivered++
        :: else
        fi;
        assert(delivered <= POSTERS)
    }
}

#define PENDING (virr[0] || virr[1] || virr[2])
#define POSTED  (pir[0] || pir[1] || pir[2])
#define DONE    (delivered == POSTERS)

inline load()
{
    d_step { nv = NOTIFICATION; ndst = cpu; was_sn = sn; sn = false };
#ifndef LOAD_NO_CHECK
    if
    :: was_sn && POSTED -> on = true
    :: else
    fi
#endif
}

inline migrate()
{
    sn = true;
    cpu = 1 - cpu;
    load()
}

/* NV := wake-up vector unless ON is set, in one compare-and-exchange. */
inline try_wakeup_vector()
{
    d_step {
        seen_on = on;
#ifdef BLOCK_NO_CHECK
        seen_on = false;
#endif
        if
        :: !seen_on -> nv = WAKEUP
        :: else
        fi
    }
}

inline block()
{
#ifdef BLOCK_NO_BARRIER
    try_wakeup_vector();
    mode = BLOCKED;
#else
    mode = BLOCKED;
    try_wakeup_vector();
#endif
    if
    :: seen_on
    :: else -> mode == ROOT || DONE
    fi;
    mode = ROOT;
    load()
}

proctype Owner()
{
    bool was_sn, seen_on;

root:
    if
    :: DONE -> goto out
    :: else
    fi;
    if
    :: migrations > 0 -> migrations--; migrate()
    :: true
    fi;
    if
    :: blocks > 0 ->
        blocks--;
        pull();
        if
        :: !PENDING -> block()
        :: else
        fi
    :: true
    fi;

    /* Entry. */
#ifdef ENTRY_NO_BARRIER
    seen_on = on;
#endif
    mode = GUEST;
    if
    :: toggles > 0 -> toggles--; apicv = !apicv
    :: true
    fi;
#ifdef ENTRY_NO_BARRIER
    if
    :: seen_on -> pull()
    :: else
    fi;
#else
    pull();
#endif
    if
    :: !apicv -> deliver_one()
    :: else
    fi;

    /* Guest mode. */
    do
    :: DONE -> goto out
    :: atomic { apicv && notification[cpu] ->
           notification[cpu] = false;
           on = false;
           virr[0] = virr[0] || pir[0]; pir[0] = false;
           virr[1] = virr[1] || pir[1]; pir[1] = false;
           virr[2] = virr[2] || pir[2]; pir[2] = false
       }
    :: atomic { !apicv && notification[cpu] -> notification[cpu] = false }; break
    :: atomic { kick[cpu] -> kick[cpu] = false }; break
    :: apicv && PENDING -> deliver_one()
    :: !apicv && PENDING -> break
    :: exits > 0 -> exits--; break
    od;
    mode = ROOT;
    goto root;
out:
    skip
}

init {
    atomic {
        run Owner();
        run Poster(0);
        run Poster(1);
        run Device(2);
        run Sink(0);
        run Sink(1)
    }
}
