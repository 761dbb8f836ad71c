import Messages

/// Where a claim that says so spreads over its peers: claims of one class that have the same word in their specification.
struct PeerPlace: TableKey {
  typealias Kept = WholeHash

  enum Place: Hashable, Sendable {
    case endNode(String)
    case host(String)
  }

  var deviceClass: String
  var peers: String
  var place: Place

  var scattered: UInt64 {
    let (kind, name): (UInt64, String) =
      switch place {
      case .endNode(let id): (0, id)
      case .host(let name): (1, name)
      }
    return Scattering.mix(Scattering.mix(deviceClass.scattered, peers.scattered), Scattering.mix(name.scattered, kind))
  }
}

extension Arbiter {
  /// How many functions the claim's peers have of an end node, or on a host; what is being let go of is one yet.
  func peers(of specification: ClaimSpecification, at place: PeerPlace.Place) -> Int {
    guard let peers = specification.placement?.peers, !peers.isEmpty else { return 0 }
    return functionsOfPeers[PeerPlace(deviceClass: specification.deviceClass, peers: peers, place: place)] ?? 0
  }

  mutating func countAmongPeers(_ specification: ClaimSpecification, with assignment: Assignment, by difference: Int) {
    guard let peers = specification.placement?.peers, !peers.isEmpty else { return }
    for place in [PeerPlace.Place.endNode(assignment.endNode), .host(assignment.host)] {
      let key = PeerPlace(deviceClass: specification.deviceClass, peers: peers, place: place)
      functionsOfPeers.add(difference, to: key)
    }
  }

  /// Whether the fullest end node comes first. One that a whole disk is asked of is empty, so that there is nothing to fill.
  func isPacked(_ specification: ClaimSpecification) -> Bool {
    guard specification.placement?.rule == .pack else { return false }
    return specification.attributes?.block?.sizeBytes != nil || !endNodes.isOfDisks(specification.deviceClass)
  }

  func validatePlacement(_ specification: ClaimSpecification) throws(Refusal) {
    guard let placement = specification.placement else { return }
    if case .unrecognized(let number) = placement.rule {
      throw Refusal(.invalidArgument, "the placement rule number \(number) is not known; known ones: SPREAD, PACK")
    }
    guard placement.rule != .pack || placement.peers.isEmpty else {
      throw Refusal(
        .invalidArgument, "peers are what a claim is spread over, and this one is to be packed: leave one of both out")
    }
    if !placement.peers.isEmpty, let problem = Names.problem(with: placement.peers, of: "peers") {
      throw Refusal(.invalidArgument, problem)
    }
  }
}

extension ClaimSpecification {
  /// To spread over no peers is what is done when nothing is said.
  mutating func normalizePlacement() {
    guard placement?.rule == .spread || placement == Placement() else { return }
    // The peers alone say that.
    placement?.rule = .unspecified
    if placement == Placement() { placement = nil }
  }
}
