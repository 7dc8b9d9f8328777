/** A page of the documentation: its blocks of code can be copied. */
import { copyButtons } from "../clarion/copy.js";

copyButtons();
