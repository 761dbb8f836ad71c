import Quantities
import Services

extension Rack {
  // MARK: End nodes

  func describe(_ node: EndNode) -> Description {
    var text = Description()
    text.facts([
      ("Name", node.name), ("Id", node.id), ("Class", node.deviceClass), ("Health", node.health?.words ?? "-"),
      ("Left alone", node.damping.map { $0.told(at: now) }),
      ("Taints", node.taints.map(\.words).joined(separator: ", ")),
      ("Cordon", node.cordon.map { $0.told(at: now) }), ("Drain", node.cordon?.drain.map { $0.told(at: now) }),
      ("Labels", node.labels.labelText), ("Functions in use", node.functionsInUse),
      ("Hosts that use it", node.hostsInUse),
      ("Size in use", node.sizeInUse == "-" ? nil : node.sizeInUse),
      ("Bandwidth", node.bandwidthWords),
      ("Queues", node.capacity.flatMap { $0.queues > 0 ? node.promised(\.queues) : nil }),
      (
        "Operations",
        node.capacity.flatMap { $0.operationsPerSecond == 0 ? nil : node.promised(\.operationsPerSecond, "/s") }
      ),
      ("Bytes", node.capacity.flatMap { $0.bytesPerSecond == 0 ? nil : node.promised(\.bytesPerSecond, "B/s") }),
      ("Controlled by", node.physicalFunction?.controllingHost),
      ("Control goes to", node.controlTransfer.map { withState($0.host) }),
      ("Control token", node.physicalFunction?.controlToken.map { String($0.value) }),
      ("Highest token", node.highestToken.map { String($0.value) }),
    ])
    text.section(
      "Roots", ["HOST", "STATE", "CALLED THERE", "NUMA NODE"],
      node.roots.map { root in
        [
          root.host, host(named: root.host).map(state) ?? "unknown", orDash(root.localName),
          root.numaNode.map { String($0) } ?? "-",
        ]
      })
    text.section("Fence domains", ["DOMAIN", "FUNCTIONS"], fenceDomains(of: node))
    text.section("Map", ["AT", "SIZE", "FUNCTION", "CLAIM", "HOST"], geometry(of: node))
    text.section("Device", node.physicalFunction?.rows(functionsSet: node.wantedFunctions) ?? [])
    text.section("Can", node.capabilities?.rows ?? [])
    for offer in node.capabilities?.byPath ?? [] { text.section("On the path \(offer.path.word)", offer.rows) }
    let there = functions.filter { $0.assignment?.endNode == node.id || $0.assignment?.endNode == node.name }
    text.section("Functions", AssignedFunction.heading, there.map(\.row))
    text.section(node.cordon?.drain)
    let waiting = claims.filter { claim in
      guard claim.status?.phase != .ready, let wanted = claim.specification?.endNode?.name else { return false }
      return wanted == node.name || wanted == node.id
    }
    text.section("Wait for it", ["CLAIM", "PHASE", "WHY"], waiting.map(\.waitingRow))
    return text
  }

  // MARK: Functions

  func describe(_ function: AssignedFunction) -> Description {
    let assignment = function.assignment ?? Assignment()
    var text = Description()
    text.facts([
      ("Function", assignment.function), ("State", function.releasing ? "being released" : "granted"),
      ("Claim", assignment.claim), ("Claim uid", assignment.claimUid), ("Class", assignment.deviceClass),
      ("End node", assignment.endNode), ("Source", assignment.source), ("Path", assignment.path.word),
      ("Used on", assignment.host),
      ("Controlled by", assignment.controllingHost), ("Token", assignment.token.map { String($0.value) }),
      ("Fence domain", assignment.fenceDomain), ("Fenced by", fencer(of: function)),
      ("Extent", assignment.extent?.words), ("Consumer", assignment.consumer?.words),
      ("At loss", assignment.lossPolicy.words),
    ])
    text.section("Mediation", assignment.mediation?.rows ?? [])
    text.section("Granted", assignment.attributes?.details ?? [])
    text.section("Arrived", assignment.arrival?.rows ?? [])
    text.section("Reports", HostFunctionStatus.heading, function.reports.map { $0.row })
    for report in function.reports {
      text.section("Cleaning by \(report.host)", report.status?.scrub?.rows ?? [])
      text.section("Error of \(report.host)", report.status?.error?.rows ?? [])
    }
    return text
  }

  func describe(_ orphan: Orphan) -> Description {
    var text = describe(
      AssignedFunction {
        $0.assignment = orphan.status?.assignment ?? Assignment { $0.function = orphan.functionID }
        $0.releasing = orphan.releasing
        $0.reports = (orphans ?? []).filter { $0.functionID == orphan.functionID }.map { part in
          HostFunctionStatus {
            $0.host = part.host
            $0.status = part.status
          }
        }
      })
    text.note(
      "No claim stands behind it. Make one of it: iov orphan adopt \(orphan.functionID); or have it torn down: "
        + "iov orphan purge \(orphan.functionID)")
    return text
  }

  // MARK: Claims

  func describe(_ claim: Claim) -> Description {
    var text = Description()
    text.facts(facts(of: claim))
    text.section("Asks for", wishes(of: claim.specification ?? ClaimSpecification()))
    text.section("Served from", Self.chainHeading, chain(of: claim))
    text.section("Serves", Self.servedHeading, served(from: claim))
    if let assignment = claim.status?.assignment {
      text.section("Holds", holding(assignment, fencedBy: fencer(of: function(of: claim))))
      text.section("Mediation", assignment.mediation?.rows ?? [])
    }
    if let function = function(of: claim) {
      text.section("Reports", HostFunctionStatus.heading, function.reports.map { $0.row })
    }
    return text
  }

  private func facts(of claim: Claim) -> [(String, String?)] {
    var facts: [(String, String?)] = [
      ("Name", claim.name), ("Uid", claim.uid), ("Created", claim.created?.told(at: now)),
      ("Ends", claim.expires?.told(at: now)),
      ("Phase", claim.status?.phase.word ?? "-"),
    ]
    for reason in claim.status?.pending ?? [] { facts.append(("Waits for", reason.message)) }
    facts.append(("Upgrades", claim.status?.upgrade?.words))
    facts.append(("Health", claim.status?.health?.told(at: now)))
    return facts + [("Error", claim.status?.error?.summary), ("Revision", String(claim.revision))]
  }

  private func wishes(of specification: ClaimSpecification) -> [[String]] {
    let paths = specification.allowedPaths.map(\.word).joined(separator: ", then ")
    let rows = [
      ["Class", specification.deviceClass],
      ["Host", specification.host.isEmpty ? specification.hostWords : withState(specification.host)],
      ["Group", specification.group], ["Source", specification.source], ["Selector", specification.selector],
      ["Consumer", specification.consumer?.words ?? "the host"],
      ["Paths", paths.isEmpty ? "any, fastest first" : paths], ["At loss", specification.lossPolicy.words],
      ["Taken away", specification.evictionPolicy.words],
      ["If unhealthy", specification.unhealthyWords], ["Tenant", specification.tenant],
      ["Priority", specification.priorityWords],
      ["Locality", specification.locality?.words ?? ""], ["Placement", specification.placement?.words ?? ""],
      ["Upgrade", specification.upgrade ? "to a better path, when one is free" : ""],
      ["Tolerates", specification.tolerations.map(\.words).joined(separator: ", ")],
    ]
    return rows.filter { !$0[1].isEmpty } + (specification.endNode?.rows ?? [])
      + (specification.attributes?.details ?? [])
  }

  private func holding(_ assignment: Assignment, fencedBy fencer: String?) -> [[String]] {
    var rows = [
      ["Function", assignment.function], ["End node", assignment.endNode], ["Path", assignment.path.word],
      ["Used on", withState(assignment.host)],
      ["Controlled by", withState(assignment.controllingHost)], ["Token", String(assignment.token?.value ?? 0)],
      ["Fence domain", orDash(assignment.fenceDomain)],
    ]
    if let extent = assignment.extent { rows.append(["Extent", extent.words]) }
    if let fencer { rows.append(["Fenced by", fencer]) }
    return rows + (assignment.arrival?.rows ?? assignment.attributes?.details ?? [])
  }

  func withState(_ name: String) -> String {
    guard let host = host(named: name) else { return name }
    return "\(name) (\(state(of: host)))"
  }
}

// MARK: Parts

extension AssignedFunction {
  static let heading = ["FUNCTION", "CLAIM", "HOST", "PATH", "CONTROLLED BY", "TOKEN", "REPORTED"]

  var row: [String] {
    let assignment = assignment ?? Assignment()
    return [
      assignment.function, assignment.claim, assignment.host, assignment.path.word, assignment.controllingHost,
      String(assignment.token?.value ?? 0), orDash(reportSummary),
    ]
  }
}

extension HostFunctionStatus {
  static let heading = ["HOST", "ROLE", "PHASE", "HEALTH", "TOKEN", "REVISION", "ERROR"]

  var row: [String] {
    let status = status ?? FunctionStatus()
    return [
      host, status.role.word, status.phase.word, status.health?.word ?? "-",
      status.function?.token.map { String($0.value) } ?? "-",
      String(status.revision), status.error.map { "\($0.step): \($0.message)" } ?? "",
    ]
  }
}

extension ScrubState {
  fileprivate var rows: [[String]] {
    [["Method", method], ["Clean", words ?? ""], ["Not going on", failure]].filter { !$0[1].isEmpty }
  }
}

extension FunctionError {
  fileprivate var rows: [[String]] {
    let name = StatusCode(rawValue: Int(code)).map { "\($0)" } ?? String(code)
    var rows = [
      ["Step", step], ["Message", message], ["Code", name], ["Tried again", permanent ? "in vain" : "yes"],
    ]
    if let highestToken { rows.append(["Highest token seen", String(highestToken.value)]) }
    return rows
  }
}

extension EndNode {
  /// "10Gbit", "10Gbit, 4Gbit of it promised to functions that send"
  fileprivate var bandwidthWords: String? {
    guard let all = capacity?.bitsPerSecond, all > 0 else { return nil }
    guard let promised = used?.bitsPerSecond, promised > 0 else { return formatBitRate(all) }
    return "\(formatBitRate(all)), \(formatBitRate(promised)) of it promised to functions that send"
  }

  /// "300 of 1000/s promised"
  fileprivate func promised<Amount: BinaryInteger>(_ amount: KeyPath<Capacity, Amount>, _ unit: String = "") -> String {
    "\(used?[keyPath: amount] ?? 0) of \(capacity?[keyPath: amount] ?? 0)\(unit) promised"
  }
}

extension PhysicalFunction {
  /// - Parameter set: how many functions of its own an operator wants of it.
  fileprivate func rows(functionsSet set: UInt32?) -> [[String]] {
    var rows = [
      ["Driver", driver], ["PCI function", pciAddress], ["Serial number", serialNumber],
      ["Permanent address", permanentAddress], ["Firmware", firmware], ["Switch", eswitchMode],
      ["Offers", offers.joined(separator: ", ")],
    ]
    if let count = functionCount {
      rows.append(["Own functions", "\(count.present) of at most \(count.maximum)"])
      let wanted = count.wanted.map { String($0) } ?? "as found"
      let isOverruled = !count.settable || count.ordered != set
      rows.append([
        "Wanted",
        set.map { "\($0), set by an operator" + (isOverruled ? "; its host goes by: \(wanted)" : "") } ?? wanted,
      ])
      rows.append(["A change would destroy", count.held.joined(separator: ", ")])
      rows.append(["Count", count.message])
      rows.append(["Driver of functions", count.functionDriver])
    }
    rows += quirks.map { ["Its driver", $0] }
    return rows.filter { !$0[1].isEmpty }
  }
}

extension PathCapabilities {
  fileprivate var rows: [[String]] {
    func settings(_ support: Support) -> [AttributeSupport] { attributes.filter { $0.support == support } }
    func told(_ settings: [AttributeSupport]) -> String {
      settings.map { $0.reason.isEmpty ? $0.attribute : "\($0.attribute) (\($0.reason))" }.joined(separator: ", ")
    }
    var rows = [
      ["Functions", functions == 0 ? "" : String(functions)], ["Consumers", consumers.joined(separator: ", ")],
      ["Settings", told(settings(.supported))], ["Accepted, not kept", told(settings(.unverified))],
      ["Refused", told(settings(.refused))],
    ]
    if maximumMtu > 0 { rows.append(["MTU", "\(minimumMtu) to \(maximumMtu) bytes"]) }
    return rows.filter { !$0[1].isEmpty }
  }
}

extension Capabilities {
  fileprivate var rows: [[String]] {
    var rows = [
      ["Paths", paths.map(\.word).joined(separator: ", ")], ["Mediators", mediators.joined(separator: ", ")],
      ["Consumers", consumers.joined(separator: ", ")], ["Settings", attributes.joined(separator: ", ")],
    ]
    if maximumMtu > 0 { rows.append(["MTU", "\(minimumMtu) to \(maximumMtu) bytes"]) }
    if multiRoot { rows.append(["Several roots", "yes: the device itself keeps hosts apart"]) }
    if blockSizeBytes > 0 { rows.append(["Sizes", "multiples of \(formatByteCount(UInt64(blockSizeBytes)))"]) }
    return rows.filter { !$0[1].isEmpty }
  }
}

extension Mediation {
  fileprivate var rows: [[String]] {
    var rows = [["By", mediator], ["Server", serverAddress], ["Consumer", consumerAddress]]
    if vni > 0 { rows.append(["VNI", String(vni)]) }
    if !exportName.isEmpty { rows.append(["Export", exportName]) }
    if serverPort > 0 { rows.append(["Port", String(serverPort)]) }
    return rows
  }
}

extension Arrival {
  fileprivate var rows: [[String]] {
    [
      ["Interface", interfaceName], ["Network namespace", networkNamespace], ["Device", devicePath], ["URI", uri],
      ["PCI function", pciAddress], ["IOMMU group", iommuGroup.map { String($0) } ?? ""], ["CDI device", cdiDevice],
      ["vhost-user socket", vhostUserSocket],
    ].filter { !$0[1].isEmpty } + (enforced?.details ?? [])
  }
}

extension LossPolicy {
  var words: String {
    switch self {
    case .selfFence: "fence itself when the coordinator is lost"
    case .keep, .unspecified, .unrecognized: "keep"
    }
  }
}

extension EndNodeSelector {
  fileprivate var rows: [[String]] {
    [["End node", name], ["Of host", host], ["With labels", labels.labelText]].filter { !$0[1].isEmpty }
  }
}
