import Arbitration
import Messages

/// Cards that make functions of their own, and operators who say how many. In an eighth of the storms, none of which tests name,
/// so that those go on telling of what they found.
extension Storm {
  var countsFunctions: Bool { isMaintained && seed % 8 == 3 }

  private static let cards = ["ethernet/a", "ethernet/c"]

  mutating func setAnyFunctionCount() {
    guard countsFunctions, Int.random(in: 0..<60, using: &countDice) == 0 else { return }
    let card = Self.cards.randomElement(using: &countDice) ?? ""
    // One more than it can make is refused.
    let count = Int.random(in: -1...5, using: &countDice)
    ask(.other) { call in
      .functionCountSet(
        call,
        SetFunctionCountRequest {
          $0.endNode = card
          $0.count = count < 0 ? nil : UInt32(count)
        })
    }
  }

  /// What was said has been done, unless somebody holds a function that no store knows of.
  mutating func checkFunctionCountsAtRest() {
    guard countsFunctions else { return }
    let claimed = Set(arbiter.listedClaims.compactMap(\.status?.assignment?.function))
    for node in arbiter.listedEndNodes where Self.cards.contains(node.id) {
      guard let count = node.physicalFunction?.functionCount else { continue }
      require(
        count.ordered == node.wantedFunctions, "\(node.id) was not told to make \(node.wantedFunctions ?? 0) functions")
      let isDone = count.ordered.map { $0 == count.present } ?? true
      let isHeldByNobody = !count.held.isEmpty && claimed.isDisjoint(with: count.held)
      require(isDone || isHeldByNobody, "\(node.id) has \(count.present) functions, and is to make \(count)")
    }
  }
}

extension StormHost {
  /// All cards can make functions, and have none yet.
  mutating func makeCardsCount() {
    for index in endNodes.indices where endNodes[index].deviceClass == "ethernet" {
      let count = FunctionCount {
        $0.maximum = 4
        $0.settable = true
      }
      endNodes[index].physicalFunction = PhysicalFunction { $0.functionCount = count }
    }
  }

  /// A card makes as many functions as it is told, once nobody has one of those that it has.
  mutating func settleFunctionCounts(at now: UInt64) {
    guard isUp, now < leaseEnds else { return }
    for (index, node) in endNodes.enumerated() {
      guard var count = node.physicalFunction?.functionCount, let control = wantedControls[node.id],
        canStep(node.id, node.deviceClass)
      else { continue }
      count.ordered = control.functionCount
      count.wanted = count.ordered
      count.held = count.wanted.map { $0 == count.present } ?? true ? [] : ownFunctions(of: node.id).map(\.id).sorted()
      if let wanted = count.wanted, count.held.isEmpty { count.present = wanted }
      guard count != node.physicalFunction?.functionCount else { continue }
      endNodes[index].physicalFunction?.functionCount = count
      endNodes[index].capabilities?.paths = (count.present > 0 ? [.direct] : []) + [.directSoftware, .mediated]
      endNodes[index].capabilities?.byPath = [Path.direct, .directSoftware, .mediated].map { path in
        PathCapabilities {
          $0.path = path
          $0.functions = path == .direct ? count.present : 0
          $0.consumers = node.capabilities?.consumers ?? []
          $0.attributes = (node.capabilities?.attributes ?? []).map { attribute in
            AttributeSupport {
              $0.attribute = attribute
              $0.support = .supported
            }
          }
          $0.minimumMtu = node.capabilities?.minimumMtu ?? 0
          $0.maximumMtu = node.capabilities?.maximumMtu ?? 0
        }
      }
      reportInventory()
    }
  }

  /// What a plugin forgets with its ledger.
  mutating func forgetFunctionCount(of index: Int) { endNodes[index].physicalFunction?.functionCount?.ordered = nil }

  func hasOwnFunctionLeft(_ node: EndNode) -> Bool {
    ownFunctions(of: node.id).count < Int(node.physicalFunction?.functionCount?.present ?? .max)
  }

  private func ownFunctions(of card: String) -> [Function] {
    functions.values.filter { $0.assignment.endNode == card && $0.assignment.path == .direct }
  }
}
