// The views of the page, from top to bottom. A further one is a file of its own and a line here.

import { answerMatrix } from "./answer_matrix.js";
import { comparedDepths } from "./compared_depths.js";
import { comparedFlows } from "./compared_flows.js";
import { comparedHeads } from "./compared_heads.js";
import { comparison } from "./comparison.js";
import { depthMap } from "./depth_map.js";
import { flowPicture } from "./flow_picture.js";
import { headMap } from "./head_map.js";
import { passageList } from "./passage_list.js";
import { wordTable } from "./word_table.js";

export const VIEWS = [
  answerMatrix,
  passageList,
  wordTable,
  flowPicture,
  comparison,
  comparedDepths,
  comparedHeads,
  comparedFlows,
  depthMap,
  headMap,
];
