import Services

/// A function as its file tells of it.
struct TestFunction {
  var id: String
  var role: Role
  var token: UInt64
  var isUsed: Bool
  /// All of the device, on the host itself.
  var isWhole: Bool
  var extent: Extent

  init(_ request: FunctionRequest, _ phase: FunctionPhase, beside others: [TestFunction]) {
    let assignment = request.assignment ?? Assignment()
    id = assignment.function
    role = request.role
    token = assignment.token?.value ?? 0
    isUsed = phase == .inUse
    isWhole = assignment.path == .direct
    let known = assignment.extent ?? others.first { $0.id == assignment.function }?.extent
    extent = known ?? Self.gap(of: assignment.attributes?.block?.sizeBytes ?? 0, among: others)
    isAbsent = phase == .absent
  }

  private var isAbsent = false

  /// "function-ROLE-TOKEN", "ID created|used whole|part OFFSET SIZE".
  init?(name: String, text: String) {
    let (parts, words) = (name.split(separator: "-"), text.split(separator: " ").map(String.init))
    guard parts.count == 3, words.count == 5, let role = Int32(parts[1]), let token = UInt64(parts[2]) else {
      return nil
    }
    id = words[0]
    (self.role, self.token) = (Role(rawValue: role), token)
    isUsed = words[1] == "used"
    isWhole = words[2] == "whole"
    extent = Extent {
      $0.offsetBytes = UInt64(words[3]) ?? 0
      $0.sizeBytes = UInt64(words[4]) ?? 0
    }
  }

  var name: String { "function-\(role.rawValue)-\(token)" }

  var text: String {
    "\(id) \(isUsed ? "used" : "created") \(isWhole ? "whole" : "part") \(extent.offsetBytes) \(extent.sizeBytes)"
  }

  var status: FunctionStatus {
    FunctionStatus {
      $0.role = role
      $0.phase = isAbsent ? .absent : isUsed ? .inUse : .created
      $0.function = VirtualFunction {
        $0.id = id
        $0.endNode = "test/1"
        $0.token = FencingToken { $0.value = token }
        if role != .consumer, extent.sizeBytes > 0 { $0.extent = extent }
      }
    }
  }

  private static func gap(of size: UInt64, among others: [TestFunction]) -> Extent {
    var offset: UInt64 = 0
    for other in others.map(\.extent).sorted(by: { $0.offsetBytes < $1.offsetBytes })
    where offset + size > other.offsetBytes {
      offset = max(offset, other.offsetBytes + other.sizeBytes)
    }
    return Extent {
      $0.offsetBytes = offset
      $0.sizeBytes = size
    }
  }
}
