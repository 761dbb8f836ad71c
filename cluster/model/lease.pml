/* Leases and fencing, as a model for spin: one function of an end node that two hosts see, one coordinator.
 *
 * What it keeps of the product:
 *  - A session is a FIFO that dies with the host's run or with the connection. What a host has ever reported may reach the coordinator
 *    at any later time, and again; so may, within a run of the host, whatever its agent ever asked of its plugin.
 *  - A host's lease is counted from the sending of the heartbeat that was answered, the coordinator's from its arrival, with a margin.
 *  - Host 0 has a watchdog, host 1 has none.
 *  - Proof that a former holder cannot use the function: it released it under its token; the other root fenced it at the device; its run
 *    is over; or its lease and the margin are over and it has a watchdog.
 *    So may a hello: that a run is over is taken from one whose agent has answered the welcome, which a hello that comes late has none of.
 * What it leaves out: the order of server and consumer on the mediated path, and the coordinator's own restarts. Storms have those.
 *
 * Macros whose names begin with BROKEN_ take one rule away each: the property named beside it must then fail.
 */

#ifndef TOKENS
#define TOKENS 2
#endif
#define TERM 1                     /* ticks of a lease */
#define MARGIN 1
/* How much of everything is looked at. With AGAIN a claim that is deleted is made anew, so that one host can have two tokens in turn. */
#if defined(BROKEN_LATE_RELEASE_CUTS) || defined(BROKEN_ANY_RELEASE_PROVES)
#define AGAIN
#endif
#ifndef CRASHES
#define CRASHES 0                  /* beside those that the watchdog makes */
#endif
#ifndef LOSSES
#define LOSSES 1                   /* of sessions */
#endif
#ifndef TICKS
#define TICKS 3
#endif
#define NOBODY 2

#define bit_of(token) (1 << (token))
#define other(host) (1 - (host))
#define has_watchdog(host) ((host) == 0)
/* The heartbeats of host 1 take no time: what can go wrong with them is tried on host 0. */
#define is_prompt(host) ((host) == 1)

mtype = { WELCOME, WANT, RELEASE, FENCE, NOTHING, ANSWER };
mtype = { IDLE, GRANTED, RELEASING };

/* The device, and what plugins keep on their disks. */
byte held[2];                      /* the token under which a host has it attached; 0: not */
byte spent[2];                     /* every token up to this one was let go of */
byte fenced;                       /* the device serves no token up to this one */

/* The agents. */
chan to_host[2] = [4] of { mtype, byte };
bool in_session[2];
byte boot[2];                      /* counts the runs of a host */
byte lease[2];                     /* ticks left */
byte wanted[2];                    /* token that is to be attached */
bool old_words[2];                 /* welcomed, and not yet told what is wanted: what was wanted before may be another's by now */
byte to_fence[2];
byte asked_attach[2];              /* bits: what the plugin was ever asked to attach in this run */

/* On the way to the coordinator. */
bool hello[2];
bool heartbeat[2];
bool unanswered[2];                /* a hello or a heartbeat is out */
byte age[2];                       /* since it was sent */
byte said_released[2];             /* bits */
#ifdef BROKEN_REFUSAL_PROVES       /* late_one_proves_nothing */
byte said_refused[2];
#define note_refusal(host, t) said_refused[host] = said_refused[host] | bit_of(t)
#define refusal_proves (said_refused[holder] != 0)
#else
#define note_refusal(host, t) skip
#define refusal_proves false
#endif
byte said_fenced;
#ifdef BROKEN_LATE_HELLO_PROVES
byte known_run[2];
#endif

/* The coordinator. */
mtype phase = IDLE;
byte holder = NOBODY;
byte token;
byte told_run;                     /* the holder's run that was told of the token */
byte heard[2];                     /* ticks until the host counts as silent, margin and all */
byte abandoned[2];                 /* a token that a host has yet to let go of, when others went on */
bool pending[2] = true;
bool fence_sent;

/* What the claims say. */
#if defined(KEEPS) || defined(BROKEN_ALL_ARE_FENCED)
#define self_fence false
#else
#define self_fence true
#endif
byte crashes, losses, ticks;
bool calm;                         /* nothing breaks any more */

/* What must never happen is noted here, where it can be told from what may. */
bool reassigned_unproven, late_one_changed, late_one_proved, overstayed, cut_unasked;

#define has_room(host) (len(to_host[host]) < 4)
#define can_use(host) (held[host] > fenced)

byte before;

inline attach(host, t) {
  before = held[host];
  if
  :: t > spent[host] && t > fenced && held[host] == 0 -> held[host] = t
  :: t <= spent[host] || t <= fenced -> note_refusal(host, t)
  :: else
  fi;
  late_one_changed = late_one_changed || (held[host] != before && (before != 0 || t <= spent[host] || t <= fenced));
  before = 0
}

inline detach(host, t) {
  before = held[host];
#ifdef BROKEN_LATE_RELEASE_CUTS    /* late_one_changes_nothing */
  held[host] = 0;
#else
  if :: t >= held[host] -> held[host] = 0 :: else fi;
#endif
  if :: held[host] == 0 && t > spent[host] -> spent[host] = t :: else fi;
  late_one_changed = late_one_changed || (held[host] != before && t < before);
  before = 0
}

inline crash(host) {
  boot[host] = boot[host] + 1;
  held[host] = 0; lease[host] = 0; wanted[host] = 0; to_fence[host] = 0; old_words[host] = false;
  asked_attach[host] = 0;
  lose_session(host)
}

inline lose_session(host) {
  in_session[host] = false; unanswered[host] = false; hello[host] = false; heartbeat[host] = false; age[host] = 0;
  do :: len(to_host[host]) > 0 -> to_host[host] ? _, _ :: len(to_host[host]) == 0 -> break od
}

#ifdef BROKEN_OLD_WORDS_ARE_GOOD   /* never_two_holders */
#define are_good_words(host) true
#else
#define are_good_words(host) !old_words[host]
#endif

inline work(host) {
  if
  :: are_good_words(host) && wanted[host] > 0 && held[host] == 0 && lease[host] > 0 && wanted[host] > spent[host] && wanted[host] > fenced ->
     asked_attach[host] = asked_attach[host] | bit_of(wanted[host]);
     if
     :: attach(host, wanted[host])
     :: !calm                      /* it takes its time, and comes later */
     fi
  :: else
  fi;
  if
  :: are_good_words(host) && to_fence[host] > 0 && lease[host] > 0 ->
     if :: to_fence[host] > fenced -> fenced = to_fence[host] :: else fi;
     said_fenced = said_fenced | bit_of(to_fence[host]);
     to_fence[host] = 0
  :: else
  fi
}

/* Without a watchdog it is the agent that ends what asked for it, before it does anything else: it may have stood still. */
#if defined(BROKEN_NO_SELF_FENCE)    /* a_partition_ends_as_the_claim_says */
#define cuts_itself false
#elif defined(BROKEN_ALL_ARE_FENCED) /* a_partition_ends_as_the_claim_says */
#define cuts_itself true
#else
#define cuts_itself self_fence
#endif
#define is_over(host) (!has_watchdog(host) && lease[host] == 0 && held[host] > 0)
#define may_act(host) (!is_over(host) || !cuts_itself)
#define note_act(host) overstayed = overstayed || (is_over(host) && self_fence)

/* The first that is said of what is wanted replaces what was wanted before. */
inline hear(host) {
  if :: old_words[host] -> wanted[host] = 0; to_fence[host] = 0; old_words[host] = false :: else fi
}

proctype agent(byte host) {
  mtype kind; byte t;
  do
  :: atomic { is_over(host) && cuts_itself ->
       cut_unasked = cut_unasked || !self_fence;
       if :: held[host] > spent[host] -> spent[host] = held[host] :: else fi;
       held[host] = 0; wanted[host] = 0 }
  :: atomic { may_act(host) && len(to_host[host]) > 0 ->
       note_act(host);
       to_host[host] ? kind, t;
       if
       :: kind == ANSWER || kind == WELCOME ->
          unanswered[host] = false;
#ifdef BROKEN_LEASE_FROM_ARRIVAL   /* never_two_holders */
          lease[host] = TERM;
#else
          if :: age[host] < TERM && TERM - age[host] > lease[host] -> lease[host] = TERM - age[host] :: else fi;
#endif
          age[host] = 0; old_words[host] = old_words[host] || (kind == WELCOME && !is_prompt(host))
       :: kind == WANT -> hear(host); wanted[host] = t
       :: kind == FENCE -> hear(host); to_fence[host] = t
       :: kind == NOTHING -> hear(host)
       :: kind == RELEASE ->
          hear(host);
          if :: wanted[host] <= t -> wanted[host] = 0 :: else fi;
          detach(host, t);
          if :: held[host] != t -> said_released[host] = said_released[host] | bit_of(t) :: else fi
       fi;
       work(host); kind = 0; t = 0 }
  :: atomic { may_act(host) && len(to_host[host]) == 0 && !in_session[host] && !hello[host] ->
       note_act(host);
       hello[host] = true; unanswered[host] = !is_prompt(host); age[host] = 0 }
  :: atomic { may_act(host) && is_prompt(host) && in_session[host] && !old_words[host] && lease[host] < TERM ->
       note_act(host);
       lease[host] = TERM; heard[host] = TERM + MARGIN; work(host) }
  :: atomic { may_act(host) && !is_prompt(host) && len(to_host[host]) == 0 && in_session[host] && !unanswered[host] && lease[host] < TERM ->
       note_act(host);
       heartbeat[host] = true; unanswered[host] = true; age[host] = 0 }
  od
}

/* All that a new session has to tell its host. */
inline tell_all(host) {
  to_host[host] ! WELCOME, 0;
  if
  :: abandoned[host] > 0 && (said_released[host] & bit_of(abandoned[host])) == 0 -> to_host[host] ! RELEASE, abandoned[host]
  :: else -> abandoned[host] = 0
  fi;
  if
  :: phase == GRANTED && holder == host -> to_host[host] ! WANT, token; told_run = boot[host]
#ifndef BROKEN_RELEASE_IS_NOT_REPEATED /* what_is_pending_is_granted */
  :: phase == RELEASING && holder == host -> to_host[host] ! RELEASE, token
#endif
  :: phase == RELEASING && holder != host && fence_sent -> to_host[host] ! FENCE, token
  :: else -> to_host[host] ! NOTHING, 0
  fi
}

#define released_it ((said_released[holder] & bit_of(token)) != 0)
#define fenced_it ((said_fenced & bit_of(token)) != 0)
#ifdef BROKEN_LATE_HELLO_PROVES    /* reassignment_needs_proof */
#define run_is_over (told_run != known_run[holder])
#else
#define run_is_over (told_run < boot[holder])
#endif
#define watchdog_fired (has_watchdog(holder) && heard[holder] == 0)

#ifdef BROKEN_SILENCE_IS_PROOF     /* reassignment_needs_proof */
#define silence_proves (heard[holder] == 0)
#else
#define silence_proves watchdog_fired
#endif
#ifdef BROKEN_ANY_RELEASE_PROVES   /* late_one_proves_nothing */
#define release_proves (said_released[holder] != 0)
#else
#define release_proves released_it
#endif
#define is_proven (release_proves || refusal_proves || fenced_it || run_is_over || silence_proves)

inline take_hello(host) {
#ifdef BROKEN_LATE_HELLO_PROVES
  known_run[host] = boot[host];
#endif
  hello[host] = false; in_session[host] = true; heard[host] = TERM + MARGIN;
  tell_all(host)
}

inline answer(host) {
  heartbeat[host] = false; heard[host] = TERM + MARGIN; to_host[host] ! ANSWER, 0
}

inline grant(host) {
  token = token + 1; holder = host; phase = GRANTED; pending[host] = false; told_run = boot[host];
  to_host[host] ! WANT, token
}

#define can_grant(host) (phase == IDLE && token < TOKENS && pending[host] && heard[host] > 0 && in_session[host] && has_room(host))

proctype coordinator() {
  do
  /* What comes in. */
  :: atomic { hello[0] -> take_hello(0) }
  :: atomic { hello[1] -> take_hello(1) }
  :: atomic { heartbeat[0] && has_room(0) -> answer(0) }

  /* Who waits is granted the function when nobody has it. */
  :: atomic { can_grant(0) -> grant(0) }
  :: atomic { can_grant(1) -> grant(1) }

  /* Its claim is deleted. */
  :: atomic { phase == GRANTED && !calm && (!in_session[holder] || has_room(holder)) ->
       phase = RELEASING;
       if :: in_session[holder] -> to_host[holder] ! RELEASE, token :: else fi
#ifdef AGAIN
       pending[holder] = true
#endif
     }

  /* A host that is silent is fenced by the other root. */
  :: atomic { phase == RELEASING && heard[holder] == 0 && !fence_sent && in_session[other(holder)] &&
       heard[other(holder)] > 0 && has_room(other(holder)) ->
       fence_sent = true; to_host[other(holder)] ! FENCE, token }

  :: atomic { phase == RELEASING && is_proven ->
       late_one_proved = late_one_proved || !(released_it || fenced_it || run_is_over || silence_proves);
       reassigned_unproven = reassigned_unproven || (held[holder] == token && can_use(holder));
       if :: !released_it -> abandoned[holder] = token :: else fi;
       phase = IDLE; holder = NOBODY; fence_sent = false; told_run = 0 }
  od
}

/* Time passes for all, and the watchdog, which needs no agent, has done its work by then. */
inline tick_host(host) {
  if :: heard[host] > 0 -> heard[host] = heard[host] - 1 :: else fi;
  if :: unanswered[host] && age[host] < TERM -> age[host] = age[host] + 1 :: else fi;
  if
  :: lease[host] > 0 ->
     lease[host] = lease[host] - 1;
     if :: lease[host] == 0 && has_watchdog(host) -> crash(host) :: else fi
  :: else
  fi
}

proctype clock() {
  do
  :: atomic { !calm && ticks < TICKS -> ticks++; tick_host(0); tick_host(1) }
  :: calm || ticks == TICKS -> break
  od
}

inline strike(host) {
  if
  :: crashes < CRASHES -> crashes++; crash(host)
  :: in_session[host] && losses < LOSSES -> losses++; lose_session(host)
  :: (asked_attach[host] & bit_of(1)) != 0 -> attach(host, 1)
  :: (asked_attach[host] & bit_of(2)) != 0 -> attach(host, 2)
  :: (said_released[host] & bit_of(1)) != 0 -> detach(host, 1)
  :: (said_released[host] & bit_of(2)) != 0 -> detach(host, 2)
#ifdef BROKEN_LATE_HELLO_PROVES
  :: known_run[host] > 0 -> known_run[host] = known_run[host] - 1
#endif
#ifdef BROKEN_TOKENS_ARE_FORGOTTEN  /* never_two_holders */
  :: spent[host] > 0 -> spent[host] = 0
#endif
  fi
}

proctype faults() {
  do
  :: atomic { !calm -> strike(0) }
  :: atomic { !calm -> strike(1) }
#ifdef WITH_AN_END
  :: atomic { !calm -> calm = true }
#endif
  :: calm -> break
  od
}

init {
  atomic {
    run agent(0); run agent(1); run coordinator(); run clock(); run faults()
  }
}

/* Where nothing has to come in the end, faults need no end. */
#ifndef WITH_AN_END
ltl nothing_of_all_that {
  [] (!(can_use(0) && can_use(1)) && !reassigned_unproven && !late_one_changed && !late_one_proved && !overstayed && !cut_unasked)
}
ltl never_two_holders { [] !(can_use(0) && can_use(1)) }
ltl reassignment_needs_proof { [] !reassigned_unproven }
ltl late_one_changes_nothing { [] !late_one_changed }
ltl late_one_proves_nothing { [] !late_one_proved }
ltl a_partition_ends_as_the_claim_says { [] (!overstayed && !cut_unasked) }
#else
ltl what_is_pending_is_granted {
  [] ((calm && phase != GRANTED && token < TOKENS && (pending[0] || pending[1])) -> <> (phase == GRANTED))
}
#endif
