import Services

/// A plan for people: one line for a claim, and below it what differs.
extension ClaimPlan {
  var refused: [PlannedClaim] { claims.filter { !$0.refusal.isEmpty } }
  var changesSomething: Bool { claims.contains { $0.action != .unchanged } }

  /// What it comes to, without what is told of upgrades, which is another thing each second.
  func linesOfEffects(_ file: ClaimFile) -> [String] {
    var copy = self
    for index in copy.claims.indices { copy.claims[index].upgrade = "" }
    return copy.lines(file)
  }

  func lines(_ file: ClaimFile) -> [String] {
    claims.flatMap { $0.lines(at: file.places[$0.name]) }
      + others.flatMap { ["* \($0.name), which is not in the file: \($0.claim.outcome)"] + $0.linesOfLater }
  }
}

extension PlannedClaim {
  fileprivate func lines(at place: String?) -> [String] {
    var lines = ["\(sign) \(name): \(headline)"]
    if action == .update || action == .replace, let former, let specification {
      lines += differences(from: former, to: specification).map { "    \($0)" }
    }
    if !refusal.isEmpty {
      lines.append("    \(place ?? name): \(refusal)")
    } else if action != .unchanged, claim?.status?.assignment == nil {
      lines += (claim?.status?.pending ?? []).dropFirst().map { "    \($0.message)" }
    }
    if !upgrade.isEmpty { lines.append("    \(upgrade)") }
    return lines + linesOfLater
  }

  /// What it comes to once all that are told to let go have done so.
  fileprivate var linesOfLater: [String] { later == nil ? [] : ["    then: \(later.outcome)"] }

  private var sign: String {
    guard refusal.isEmpty else { return "x" }
    return switch action {
    case .create: "+"
    case .unchanged: "="
    case .update: "~"
    case .replace: "!"
    default: "x"
    }
  }

  private var headline: String {
    guard refusal.isEmpty else { return action == .replace ? "cannot be changed in place" : "refused" }
    return switch action {
    case .create: "new: \(claim.outcome)"
    case .unchanged: "unchanged"
    case .update: "changes in place"
    case .replace where former.holdsData: "is released, with the data on its disk, and made anew: \(claim.outcome)"
    case .replace: "is released and made anew: \(claim.outcome)"
    default: "refused"
    }
  }
}

extension Claim? {
  /// What it gets, or why it waits.
  fileprivate var outcome: String {
    guard let status = self?.status else { return "goes" }
    if status.phase == .releasing { return "is released" }
    if status.phase == .reclaiming {
      let data = self?.specification.holdsData ?? false ? ", with the data on it" : ""
      return "lets go of what it has" + data + (status.pending.first.map { ": \($0.message)" } ?? "")
    }
    guard let assignment = status.assignment else {
      return "waits" + (status.pending.first.map { ": \($0.message)" } ?? "")
    }
    return "\(assignment.endNode) on \(assignment.host) by the path \(assignment.path.word)"
  }
}

extension ClaimSpecification? {
  /// Whether what is on its function goes with it.
  fileprivate var holdsData: Bool { self.map { $0.deviceClass != "ethernet" } ?? false }
}

/// Field by field, as the file spells them.
func differences(from former: ClaimSpecification, to wanted: ClaimSpecification) -> [String] {
  guard let one = try? JSONTree(former), let other = try? JSONTree(wanted) else { return [] }
  let (before, after) = (one.leaves(below: "specification"), other.leaves(below: "specification"))
  return Set(before.keys).union(after.keys).sorted().compactMap { path in
    guard before[path] != after[path] else { return nil }
    return "\(path): \(before[path] ?? "not set") -> \(after[path] ?? "not set")"
  }
}

extension JSONTree {
  /// By the path to them: what is no group and no list.
  fileprivate func leaves(below path: String) -> [String: String] {
    switch self {
    case .object(let entries):
      guard !entries.isEmpty else { return [path: "{}"] }
      return entries.reduce(into: [:]) { leaves, entry in
        leaves.merge(entry.value.leaves(below: "\(path).\(entry.key)")) { first, _ in first }
      }
    case .list(let elements):
      return elements.enumerated().reduce(into: [:]) { leaves, element in
        leaves.merge(element.element.leaves(below: "\(path)[\(element.offset)]")) { first, _ in first }
      }
    case .null: return [path: "null"]
    case .boolean(let value): return [path: "\(value)"]
    case .integer(let value): return [path: "\(value)"]
    case .fraction(let value): return [path: "\(value)"]
    case .text(let text): return [path: text]
    }
  }
}
