import Services

/// Prints rows in columns; the first row is the heading.
func printTable(_ rows: [[String]]) {
  print(table(rows).joined(separator: "\n"))
}

func table(_ rows: [[String]]) -> [String] {
  let columns = rows.map(\.count).max() ?? 0
  let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
  return rows.map { row in
    var line = ""
    for (column, cell) in row.enumerated() {
      line += cell
      if column < row.count - 1 { line += String(repeating: " ", count: widths[column] - cell.count + 2) }
    }
    while line.last == " " { line.removeLast() }
    return line
  }
}

/// A dash where a table has nothing to show.
func orDash(_ text: String?) -> String {
  guard let text, !text.isEmpty else { return "-" }
  return text
}

extension Path {
  /// The word of the command line and of tables.
  var word: String {
    switch self {
    case .direct: "direct"
    case .directSoftware: "direct-software"
    case .fabric: "fabric"
    case .mediated: "mediated"
    case .unspecified, .unrecognized: "-"
    }
  }
}

extension ClaimPhase {
  var word: String {
    switch self {
    case .pending: "pending"
    case .preparing: "preparing"
    case .ready: "ready"
    case .releasing: "releasing"
    case .reclaiming: "reclaiming"
    case .unspecified, .unrecognized: "-"
    }
  }
}

extension Claim {
  static let tableHeading = ["NAME", "CLASS", "HOST", "PHASE", "PATH", "END NODE", "ARRIVED AS"]

  var tableRow: [String] {
    [
      name, specification?.deviceClass ?? "", orDash(usedOn), phaseWord,
      status?.assignment?.path.word ?? "-", orDash(status?.assignment?.endNode), orDash(arrivedAs),
    ]
  }

  /// "ready", "ready, unhealthy".
  var phaseWord: String {
    (status?.phase.word ?? "-") + (status?.health?.state == .unhealthy ? ", unhealthy" : "")
  }

  /// The host that uses the function; nil while it is open which one that is.
  var usedOn: String? {
    let host = status?.assignment?.host ?? specification?.host ?? ""
    return host.isEmpty ? nil : host
  }

  /// The interface or device the holder uses.
  var arrivedAs: String? {
    guard let arrival = status?.assignment?.arrival else { return nil }
    if !arrival.cdiDevice.isEmpty { return arrival.cdiDevice }
    if !arrival.devicePath.isEmpty { return arrival.devicePath }
    if arrival.interfaceName.isEmpty { return arrival.pciAddress }
    if arrival.networkNamespace.isEmpty { return arrival.interfaceName }
    return "\(arrival.interfaceName) in \(arrival.networkNamespace)"
  }

  /// Line by line what a person wants to know of one claim.
  var details: [[String]] {
    var lines = [
      ["Name", name], ["Class", specification?.deviceClass ?? ""], ["Host", usedOn ?? specification?.hostWords ?? ""],
      ["Phase", status?.phase.word ?? "-"],
    ]
    if let source = specification?.source, !source.isEmpty { lines.insert(["Source", source], at: 3) }
    if let selector = specification?.selector, !selector.isEmpty { lines.append(["Selector", selector]) }
    if let expires { lines.append(["Ends", "\(Timestamp(seconds: expires.seconds))"]) }
    for reason in status?.pending ?? [] { lines.append(["Waits for", reason.message]) }
    if let error = status?.error { lines.append(["Error", error.summary]) }
    if let health = status?.health { lines.append(["Health", health.words]) }
    if let assignment = status?.assignment {
      lines += [
        ["Path", assignment.path.word], ["End node", assignment.endNode],
        ["Controlled by", assignment.controllingHost], ["Function", assignment.function],
        ["Token", String(assignment.token?.value ?? 0)],
      ]
      if let arrived = arrivedAs { lines.append(["Arrived as", arrived]) }
      lines += (assignment.arrival?.enforced ?? assignment.attributes)?.details ?? []
      if let uri = assignment.arrival?.uri, !uri.isEmpty { lines.append(["URI", uri]) }
    }
    return lines
  }
}

extension FunctionHealth {
  /// "unhealthy: host-a: net0 has no carrier".
  var words: String {
    guard state == .unhealthy else { return state == .healthy ? "healthy again" : "unknown" }
    return "unhealthy: \(host): \(message)" + (damping == nil ? "" : " (it changes too often)")
  }

  /// For descriptions.
  func told(at now: Timestamp) -> String {
    let time = since.map { ", since \($0.told(at: now))" } ?? ""
    return words + time + (damping.map { "; \($0.told(at: now))" } ?? "")
  }
}

extension ClaimSpecification {
  /// "taken away after 5 min"; empty: it is kept.
  var unhealthyWords: String { unhealthySeconds.map { "taken away after \(formatAge(Int64($0)))" } ?? "" }

  /// "host-b", "one of host-b, host-c", "a host of which label.zone == "east" is so".
  var hostWords: String {
    guard host.isEmpty else { return host }
    let kind = hosts.isEmpty ? "a host" : "one of \(hosts.joined(separator: ", "))"
    return hostSelector.isEmpty ? kind : "\(kind) of which \(hostSelector) is so"
  }
}

extension FunctionError {
  var summary: String { "\(step) on \(host): \(message)" }
}

extension Attributes {
  var details: [[String]] { (ethernet?.details ?? []) + (block?.details ?? []) }
}
