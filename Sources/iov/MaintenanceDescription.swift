import Services

extension MaintenanceAnswer {
  var cordon: Cordon? { endNode?.cordon ?? host?.cordon }
  var name: String { endNode?.name ?? host?.name ?? "" }

  func show(_ options: CommonOptions) {
    let kind = endNode == nil ? "host" : "end node"
    options.output.show(self) {
      guard let cordon else { return print("\(kind) \(name) takes new functions") }
      print("\(kind) \(name) is \(cordon.words)")
      guard let drain = cordon.drain else { return }
      print(drain.words)
      if !drain.remaining.isEmpty { printTable([DrainRemainder.heading] + drain.remaining.map(\.row)) }
    }
  }
}

extension Cordon {
  /// `cordoned`, `being drained`, `drained`
  var word: String {
    guard let drain else { return "cordoned" }
    return drain.remaining.isEmpty ? "drained" : "being drained"
  }

  var words: String { word + (reason.isEmpty ? "" : ": \(reason)") }

  /// For descriptions.
  func told(at now: Timestamp) -> String {
    words + (since.map { ", since \($0.told(at: now))" } ?? "")
  }
}

extension Drain {
  /// `2 left; 3 moved, 0 evicted`
  var words: String { "\(remaining.count) left; \(moved) moved, \(evicted) evicted" }

  /// For descriptions.
  func told(at now: Timestamp) -> String {
    if evict { return words + "; what fits nowhere else is taken away at once" }
    guard remainingMilliseconds != nil else { return words + "; what fits nowhere else stays" }
    return words + (deadline.map { "; what fits nowhere else is taken away at \($0.told(at: now))" } ?? "")
  }
}

extension DrainRemainder {
  static let heading = ["FUNCTION", "CLAIM", "GOES BY ITSELF", "WHY IT IS THERE"]
  var row: [String] { [function, orDash(claim), stays ? "no" : "yes", why] }
}

extension Description {
  mutating func section(_ drain: Drain?) {
    section("Has yet to leave", DrainRemainder.heading, drain?.remaining.map(\.row) ?? [])
  }
}
