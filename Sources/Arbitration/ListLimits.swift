import Messages

/// How long the lists of a claim may be. What it says is stored and sent with it, and looked at with every decision about it, so that
/// what nobody needs is refused before anything else is done with it.
extension ClaimSpecification {
  private static var mostPaths: Int { 16 }
  private static var mostHosts: Int { 256 }
  private static var mostLabels: Int { 16 }

  /// What is too long, and what to do about it; nil: nothing. Of what somebody has written: equal ones count, too.
  var problemOfLength: String? {
    if allowedPaths.count > Self.mostPaths {
      return
        "\(allowedPaths.count) allowed paths are asked for; \(Self.mostPaths) are the most: name each path once, the preferred one "
        + "first, or none to allow all"
    }
    if hosts.count > Self.mostHosts {
      return
        "\(hosts.count) hosts are asked for; \(Self.mostHosts) are the most: say by a host selector which ones will do"
    }
    if let count = endNode?.labels.count, count > Self.mostLabels {
      return "\(count) labels of an end node are asked for; \(Self.mostLabels) are the most: leave some out"
    }
    return nil
  }

  /// Each path once, where it is named first.
  mutating func normalizePaths() {
    guard allowedPaths.count > 1 else { return }
    var seen: Set<Path> = []
    allowedPaths = allowedPaths.filter { seen.insert($0).inserted }
  }
}
