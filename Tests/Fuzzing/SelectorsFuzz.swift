import Messages
import Selectors

/// Bytes as a claim's condition. What is taken has one spelling that means the same, and can be asked of anything.
func selectorsFuzz(_ bytes: UnsafeRawBufferPointer) {
  let text = String(decoding: bytes, as: UTF8.self)
  do throws(SelectorError) {
    let selector = try Selector(text, Vocabulary<EndNode>.endNodes)
    let spelt = Expression.normalized(text)
    let again = try Selector(spelt, Vocabulary<EndNode>.endNodes)
    precondition(Expression.normalized(spelt) == spelt, "the one spelling has another one")
    for node in fuzzedEndNodes {
      precondition(selector.matches(node) == again.matches(node), "the one spelling means something else")
      precondition(selector.matches(node) == (selector.failing(for: node) == nil))
    }
  } catch {
    precondition(error.column >= 1 && error.message.contains("^"), "an error points nowhere")
  }
}

private let fuzzedEndNodes = [
  EndNode(),
  EndNode {
    $0.deviceClass = "sas"
    $0.labels = ["rack": "r1"]
    $0.roots = [Root { $0.host = "a" }]
    $0.capacity = Capacity {
      $0.functions = 4
      $0.sizeBytes = 1 << 30
    }
    $0.used = Capacity { $0.functions = 9 }
    $0.capabilities = Capabilities { $0.paths = [.direct, .mediated] }
  },
]
