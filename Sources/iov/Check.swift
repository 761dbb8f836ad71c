/// What a look at one thing of this host found.
struct Check: Sendable, Equatable, Encodable {
  enum Outcome: String, Sendable, Encodable {
    case ok, warn, fail
  }

  var name: String
  var outcome: Outcome
  /// What is there, or the system's reason why it is not.
  var found: String
  /// What does not work without it; empty where it is in order.
  var cost = ""
  /// What to do; empty where there is nothing to do.
  var advice = ""

  static func ok(_ name: String, _ found: String) -> Check { Check(name: name, outcome: .ok, found: found) }

  static func warn(_ name: String, _ found: String, cost: String, advice: String) -> Check {
    Check(name: name, outcome: .warn, found: found, cost: cost, advice: advice)
  }

  static func fail(_ name: String, _ found: String, cost: String, advice: String) -> Check {
    Check(name: name, outcome: .fail, found: found, cost: cost, advice: advice)
  }

  /// One line, and what follows from it below.
  var lines: [String] {
    let mark = outcome.rawValue + String(repeating: " ", count: 4 - outcome.rawValue.count)
    var lines = ["\(mark)  \(name): \(found)"]
    if !cost.isEmpty { lines.append("      cost: \(cost)") }
    if !advice.isEmpty { lines.append("      to do: \(advice)") }
    return lines
  }
}

/// Tries one thing for real.
struct Probe: Sendable {
  let name: String
  /// What it means if it does not work.
  let lacking: Check.Outcome
  let cost: String
  let advice: String
  /// Answers what it found; throws why it does not work.
  let attempt: @Sendable () throws -> String

  func check() -> Check {
    do {
      return .ok(name, try attempt())
    } catch {
      return Check(name: name, outcome: lacking, found: "\(error)", cost: cost, advice: advice)
    }
  }
}

/// The outcome of all checks together.
struct Diagnosis: Encodable {
  var checks: [Check]

  var hasFailed: Bool { checks.contains { $0.outcome == .fail } }

  var lines: [String] {
    let failed = checks.filter { $0.outcome == .fail }.count
    let warned = checks.filter { $0.outcome == .warn }.count
    let verdict =
      failed > 0
      ? "This host is not ready: \(failed) failed, \(warned) with a warning, of \(checks.count) checks."
      : "This host can join: \(checks.count) checks, \(warned) with a warning."
    return checks.flatMap(\.lines) + ["", verdict]
  }
}
