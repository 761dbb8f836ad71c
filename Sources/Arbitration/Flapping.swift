import Messages

/// How often the health of an end node has changed, and how long it is left alone for that.
struct Flapping {
  /// On the arbiter's monotonic clock, the last ones.
  private(set) var flips: [UInt64] = []
  /// Until when no new function is given of it; nil: it can be.
  private(set) var heldUntil: UInt64?
  private var holds = 0
  /// When that is, for people.
  private(set) var until = Timestamp()

  var isHeld: Bool { heldUntil != nil }

  /// Answers whether it is left alone from now on.
  mutating func note(at now: Instant, _ settings: ArbiterSettings) -> Bool {
    let time = now.monotonicMilliseconds
    let window = settings.flapWindowMilliseconds
    // A long time in which it did not change is a new beginning.
    if let last = flips.last, time - min(last, time) > window + settings.longestHoldMilliseconds { holds = 0 }
    flips.append(time)
    flips = flips.filter { time - min($0, time) < window }
    flips.removeFirst(max(0, flips.count - Int(settings.flapLimit) - 1))
    guard flips.count > Int(settings.flapLimit) else { return false }
    let hold = min(settings.longestHoldMilliseconds, settings.holdMilliseconds << UInt64(min(holds, 20)))
    holds += 1
    heldUntil = time + hold
    until = now.timestamp(afterMilliseconds: hold)
    return true
  }

  /// Answers whether it is over.
  mutating func end(at now: Instant) -> Bool {
    guard let heldUntil, heldUntil <= now.monotonicMilliseconds else { return false }
    self.heldUntil = nil
    return true
  }
}

/// An end node that is healthy now and unhealthy a moment later takes a claim's function away again and again. After a number of
/// such changes in a window it gives no new ones for a while, and for twice as long the next time. What is in use stays. A
/// coordinator that begins anew begins anew with this, too.
extension Arbiter {
  mutating func noteFlips(at now: Instant) {
    for id in endNodes.takeFlipped() where endNodes[id]?.flapping.note(at: now, settings) ?? false {
      heldForFlapping.insert(id)
      changes.openings.isOtherwise = true
    }
  }

  mutating func endHolds(at now: Instant) {
    for id in heldForFlapping.sorted() {
      guard endNodes[id]?.flapping.isHeld ?? false else {
        heldForFlapping.remove(id)
        continue
      }
      guard endNodes[id]?.flapping.end(at: now) ?? false else { continue }
      heldForFlapping.remove(id)
      changes.openings.endNodes.insert(id)
    }
  }

  func checkFlapping(of node: EndNodeState) throws(Drop) {
    guard node.flapping.isHeld else { return }
    throw Drop(
      .flapping,
      "the health of \(node.record.name) has changed \(node.flapping.flips.count) times of late; it is left alone until "
        + node.flapping.until.minute)
  }
}
